"""What can be known of required fields and JSON Schema before a contract is made."""

import pytest

from moneta.domain.schema_proofs import payload_faults

OPEN = {"type": "object"}
NOWHERE = "json_schema allows no such member in the payload, nor in an object directly inside it"
NO_MEMBER = "json_schema allows no such member"
TWICE = "json_schema wants it at two places, and it must be found once"
IN_THE_PAYLOAD = "json_schema wants it in the payload too, and it must be found once"
NUMBER = "a number beside a currency: expected type: string, format: money, or x-not-money: true"
ALONE = "money needs its currency in the same object, which allows none"


def closed(**properties):
    return {"type": "object", "additionalProperties": False, "properties": properties}


def requiring(*names, **properties):
    return {**closed(**properties), "required": list(names)}


# fmt: off
FIELDS = [
    # name                      required  fault            schema
    ("no-schema",                "kind",   None,            None),
    ("any-payload",              "a.b",    None,            True),
    ("open",                     "kind",   None,            OPEN),
    ("closed-with-it",           "kind",   None,            closed(kind=OPEN)),
    ("closed-inside",            "kind",   None,            closed(line=closed(kind=True))),
    ("closed-without-it",        "kind",   NOWHERE,         closed(line=closed())),
    ("refused-by-false",         "kind",   NOWHERE,         closed(kind=False)),
    ("pattern-may-have-it",      "kind",   None,            {**closed(), "patternProperties": {"^k": True}}),
    ("body-member",              "mpass_id", None,            closed()),
    ("path-there",               "a.b",    None,            closed(a=closed(b=True))),
    ("path-closed-at-the-end",   "a.b",    NO_MEMBER,       closed(a=closed(c=True))),
    ("path-closed-at-the-top",   "a.b",    NO_MEMBER,       closed(c=True)),
    ("path-by-reference",        "a.b",    NO_MEMBER,       {**closed(a={"$ref": "#/$defs/a"}), "$defs": {"a": closed()}}),  # noqa: E501  # one row a case
    ("reference-to-nothing",     "a.b",    None,            closed(a={"$ref": "#/$defs/a"})),
    ("path-by-all-of",           "a.b",    NO_MEMBER,       {"allOf": [OPEN, closed(b=True)]}),
    ("twice",                    "kind",   TWICE,           requiring("kind", "x", kind=True, x=requiring("kind", kind=True))),  # noqa: E501  # one row a case
    ("twice-perhaps",            "kind",   None,            requiring("kind", kind=True, x=requiring("kind", kind=True))),  # noqa: E501  # one row a case
    ("twice-if-an-object",       "kind",   None,            requiring("kind", "x", kind=True, x={"required": ["kind"]})),  # noqa: E501  # one row a case
    ("id-in-the-payload-too",    "mo_id",  IN_THE_PAYLOAD,  requiring("mo_id", mo_id=True)),
    ("id-perhaps",               "mo_id",  None,            closed(mo_id=True)),
    ("malformed-required",       "kind",   None,            {"required": 1, "properties": 2}),
]
# fmt: on


@pytest.mark.parametrize(("name", "fault", "schema"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_a_required_field_that_no_contract_can_have_is_found(name, fault, schema):
    expected = [] if fault is None else [(("required_fields", 0), f"required_fields: {name}: {fault}")]
    assert list(payload_faults([name], schema)) == expected


def test_a_schema_that_nothing_passes_is_told():
    assert list(payload_faults([], schema=False)) == [(("json_schema",), "JSON Schema: false: no payload passes")]


TEXT, NUMERIC, MONEY = {"type": "string"}, {"type": "number"}, {"type": "string", "format": "money"}
AT_FEE = ("json_schema", "properties", "fee")


@pytest.mark.parametrize(
    ("schema", "faults"),
    [
        pytest.param(closed(currency=TEXT, fee=MONEY), [], id="money-beside-its-currency"),
        pytest.param(closed(currency=TEXT, fee=NUMERIC), [(AT_FEE, f"fee: {NUMBER}")], id="number-beside-a-currency"),
        pytest.param(closed(currency=TEXT, fee={"type": ["null", "number"]}), [(AT_FEE, f"fee: {NUMBER}")], id="or"),
        pytest.param(closed(currency=TEXT, fee={**NUMERIC, "x-not-money": True}), [], id="a-rate-is-no-money"),
        pytest.param(closed(currency=TEXT, count={"type": "integer"}), [], id="a-count-is-no-money"),
        pytest.param(closed(fee=NUMERIC), [], id="a-number-without-a-currency"),
        pytest.param(closed(fee=MONEY), [(AT_FEE, f"fee: {ALONE}")], id="money-without-a-currency"),
        pytest.param({"properties": {"fee": MONEY}}, [], id="money-whose-currency-may-come"),
        pytest.param({**closed(fee=MONEY), "patternProperties": {"^c": True}}, [], id="money-whose-currency-may-match"),
        pytest.param(
            {"properties": {"lines": {"items": closed(amount=TEXT)}}},
            [(("json_schema", "properties", "lines", "items", "properties", "amount"), f"amount: {ALONE}")],
            id="an-amount-deep-inside",
        ),
        pytest.param(
            {"anyOf": [OPEN, closed(currency=TEXT, fee=NUMERIC)]},
            [(("json_schema", "anyOf", 1, "properties", "fee"), f"fee: {NUMBER}")],
            id="on-a-branch",
        ),
        pytest.param({"const": closed(currency=TEXT, fee=NUMERIC)}, [], id="a-value-that-looks-like-a-schema"),
    ],
)
def test_money_that_could_not_be_decimal_is_found(schema, faults):
    assert list(payload_faults([], schema)) == [(path, f"JSON Schema: {message}") for path, message in faults]
