"""What a template may say, each refusal with its place; and what a contract must have under one."""

from copy import deepcopy

import pytest

from moneta.domain.contract_body import body_of
from moneta.domain.errors import AmbiguousFieldError, InvalidAmountError, MissingFieldError, TransitionRefusedError
from moneta.domain.ijson import NumberText
from moneta.domain.limits import (
    EXPIRES_IN_S_MAX,
    PATTERN_CHARS_MAX,
    TEMPLATE_FIELDS_MAX,
    TEMPLATE_PATTERNS_MAX,
    TEMPLATE_ROLES_MAX,
    TEMPLATE_SUBSCHEMAS_MAX,
)
from moneta.domain.money import MoneyRule
from moneta.domain.money_fields import payload_view
from moneta.domain.schema_rules import DIALECT
from moneta.domain.template_problems import Findings
from moneta.domain.template_rules import check_body, read_template, seconds_of
from moneta.domain.templates import (
    Effect,
    EffectPhase,
    Guard,
    Role,
    Template,
    TemplateRecord,
    TemplateStatus,
    check_transition,
)

MO, PUBLISHER, MONETA = Role.MO, Role.PUBLISHER, Role.MONETA
GONE = object()
ALONE = "signing_order: no party completes a contract alone, nor Moneta: moneta and at least one party sign"
DOUBLED = "signing_order: each role signs once, and mo has signed before"
IDLE = "signing_order: no contract ever waits for this step: nobody in it has anything left to sign, or can be reached"
ISSUING = ["contract_id", "mo_id", "mpass.number", "mpass.member_ref"]
ADR = {
    "template_name": "transaction-contract",
    "version": 1,
    "schema": {"required_fields": ["contract_id", "mo_id", "publisher_id", "mpass_id", "amount", "currency"]},
    "signature_rules": {
        "required_signatures": ["mo", "moneta", "publisher"],
        "signing_order": ["mo", "moneta", "publisher"],
    },
}
ORDER = ("signature_rules", "signing_order")
REQUIRED = ("signature_rules", "required_signatures")
FIELDS = ("schema", "required_fields")
SCHEMA = ("schema", "json_schema")


def edited(*edits):
    """Return the ADR's template with each (path, value) put in, or taken out."""
    document = deepcopy(ADR)
    for (*parents, last), value in edits:
        place = document
        for step in parents:
            place = place[step]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return document


def paths_in(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        yield from paths_in(item, (*path, step))


def read(document):
    """Return the template, or its problems as (path, message), each path found again by its line."""
    paths = dict(enumerate(paths_in(document), start=1))
    result = read_template(document, {path: line for line, path in paths.items()}, sha256="digest")
    if isinstance(result, Template):
        return result
    return [(paths[problem.line], problem.message) for problem in result]


def order(*steps):
    roles = {role for step in steps for role in (step if isinstance(step, list) else [step])}
    return edited((ORDER, list(steps)), (REQUIRED, sorted(roles)))


def schema(json_schema):
    return edited((SCHEMA, json_schema))


def members(**properties):
    return {"type": "object", "properties": properties}


def test_the_adrs_template_is_read_with_the_guards_that_it_leaves_to_the_hub():
    assert read(ADR) == Template(
        name="transaction-contract",
        version=1,
        description=None,
        sha256="digest",
        signing_order=((MO,), (MONETA,), (PUBLISHER,)),
        required_fields=("contract_id", "mo_id", "publisher_id", "mpass_id", "amount", "currency"),
        guards=frozenset({Guard.ORGANIZATIONS_ACTIVE, Guard.ORGANIZATIONS_AGREE, Guard.MPASS_ACTIVE}),
    )


def test_a_template_knows_its_initiator_and_its_roles():
    template = read(order("publisher", ["moneta", "mo"]))
    assert (template.initiator, template.roles) == (PUBLISHER, {PUBLISHER, MONETA, MO})
    assert template.signing_order == ((PUBLISHER,), (MONETA, MO))


@pytest.mark.parametrize(
    ("edits", "attribute", "expected"),
    [
        pytest.param([(("description",), "What it is")], "description", "What it is", id="description"),
        pytest.param([(("description",), None)], "description", None, id="empty-description"),
        pytest.param([(("version",), 2**31 - 1)], "version", 2**31 - 1, id="greatest-version"),
        pytest.param([(("template_name",), "a" * 64)], "name", "a" * 64, id="longest-name"),
        pytest.param(
            [(FIELDS, [])],
            "guards",
            {Guard.ORGANIZATIONS_ACTIVE, Guard.ORGANIZATIONS_AGREE},
            id="no-mpass-no-mpass-guard",
        ),
        pytest.param([(("guards",), [])], "guards", set(), id="guards-none"),
        pytest.param([(("guards",), ["mpass_active"])], "guards", {Guard.MPASS_ACTIVE}, id="guards-named"),
        pytest.param([(("expires_in",), "PT24H")], "expires_in_s", 86_400, id="expires-in"),
        pytest.param([(("effects",), {"on_finalized": []})], "effects", {}, id="effects-none"),
        pytest.param(
            [(("effects",), {"on_finalized": ["issue_mpass"]}), (FIELDS, ISSUING)],
            "effects",
            {EffectPhase.ON_FINALIZED: (Effect.ISSUE_MPASS,)},
            id="effects-named",
        ),
        pytest.param([(SCHEMA, True)], "json_schema", True, id="schema-true"),
        pytest.param([(FIELDS, ["transaction.amount"])], "required_fields", ("transaction.amount",), id="dotted"),
        pytest.param(
            [(ORDER, ["mo", "moneta"]), (REQUIRED, ["moneta", "mo"])], "roles", {MO, MONETA}, id="one-party-and-moneta"
        ),
        pytest.param([(ORDER, [["mo"], "moneta", "publisher"])], "initiator", MO, id="a-group-of-one"),
    ],
)
def test_what_a_template_may_say(edits, attribute, expected):
    assert getattr(read(edited(*edits)), attribute) == expected


NO_DURATION = (
    "expires_in: expected an ISO 8601 duration in weeks, or in days, hours, minutes and seconds (PT72H), "
    "from 1 to 316224000 seconds"
)
WAIT = NO_DURATION.removeprefix("expires_in: ")
MISTAKES = [
    ("not-a-mapping", ["a"], [((), "template: expected a mapping, got array")]),
    (
        "nothing",
        {},
        [((), f"template: {key} is missing") for key in ("template_name", "version", "schema", "signature_rules")],
    ),
    ("unknown-key", edited((("color",), "red")), [(("color",), "unknown key 'color' in template")]),
    ("unknown-schema-key", edited((("schema", "x"), 1)), [(("schema", "x"), "unknown key 'x' in schema")]),
    ("no-fields", edited((FIELDS, GONE)), [(("schema",), "schema: required_fields is missing")]),
    ("no-order", edited((ORDER, GONE)), [(("signature_rules",), "signature_rules: signing_order is missing")]),
    (
        "schema-not-a-mapping",
        edited((("schema",), "x")),
        [(("schema",), "schema: expected a mapping, got string")],
    ),
    *(
        (
            f"name-{name!r}",
            edited((("template_name",), name)),
            [(("template_name",), "template_name: expected 1 to 64 of a-z 0-9 -, not beginning with -")],
        )
        for name in ("", "-a", "A", "a b", "a\n", "é", "a" * 65, 1)
    ),
    *(
        (
            f"version-{version!r}",
            edited((("version",), version)),
            [(("version",), "version: expected an integer from 1 to 2147483647")],
        )
        for version in (0, -1, 2**31, "1", True, NumberText("1.0"))
    ),
    *(
        (
            f"description-{type(description).__name__}",
            edited((("description",), description)),
            [(("description",), "description: expected a text of at most 1000 characters")],
        )
        for description in ("a" * 1001, 1)
    ),
    (
        "fields-not-a-list",
        edited((FIELDS, "amount")),
        [(FIELDS, "schema.required_fields: expected a list, got string")],
    ),
    ("field-twice", edited((FIELDS, ["a", "a"])), [((*FIELDS, 1), "schema.required_fields: 'a' stands twice")]),
    (
        "field-no-text",
        edited((FIELDS, [1])),
        [((*FIELDS, 0), "schema.required_fields: expected a name, got integer")],
    ),
    *(
        (
            f"field-{name[:4]!r}",
            edited((FIELDS, [name])),
            [((*FIELDS, 0), f"required_fields: expected a name or a dotted path, got {name[:64]!r}")],
        )
        for name in ("", ".a", "a.", "a..b", "a" * 201)
    ),
    (
        "field-that-the-schema-forbids",
        edited((FIELDS, ["visit.day"]), (SCHEMA, {**members(stay=True), "additionalProperties": False})),
        [((*FIELDS, 0), "required_fields: visit.day: json_schema allows no such member")],
    ),
    (
        "fields-too-many",
        edited((FIELDS, [f"f{number}" for number in range(TEMPLATE_FIELDS_MAX + 9)])),
        [((*FIELDS, TEMPLATE_FIELDS_MAX), "required_fields: at most 200")],
    ),
    ("json-schema-text", schema("x"), [(SCHEMA, "json_schema: expected a JSON Schema, got string")]),
    (
        "role-unknown",
        edited((ORDER, ["mo", "bank"])),
        [
            (
                (*ORDER, 1),
                "signature_rules.signing_order: expected one of mo, publisher, moneta, org, org_new_key, got 'bank'",
            )
        ],
    ),
    (
        "role-no-text",
        edited((REQUIRED, ["mo", "moneta", "x"])),
        [
            (
                (*REQUIRED, 2),
                "signature_rules.required_signatures: expected one of mo, publisher, moneta, org, org_new_key, got 'x'",
            )
        ],
    ),
    (
        "order-too-deep",
        edited((ORDER, ["mo", [["moneta"], "publisher"]])),
        [
            (
                (*ORDER, 1, 0),
                "signature_rules.signing_order: expected one of mo, publisher, moneta, org, org_new_key, got array",
            )
        ],
    ),
    (
        "acknowledge-in-the-order",
        edited((("acknowledge",), {"publisher": "PT72H"})),
        [(("acknowledge", "publisher"), "acknowledge: publisher is in the signing order")],
    ),
    (
        "acknowledge-by-moneta",
        edited((("acknowledge",), {"moneta": "PT72H"})),
        [(("acknowledge", "moneta"), "unknown key 'moneta' in acknowledge")],
    ),
    (
        "acknowledge-never",
        edited((("acknowledge",), {"org": "P1Y"})),
        [(("acknowledge", "org"), f"acknowledge: {WAIT}")],
    ),
    (
        "acknowledge-at-once",
        edited((("acknowledge",), {"org": "PT0S"})),
        [(("acknowledge", "org"), f"acknowledge: {WAIT}")],
    ),
    ("acknowledge-number", edited((("acknowledge",), {"org": 5})), [(("acknowledge", "org"), f"acknowledge: {WAIT}")]),
    ("notify-signer", edited((("notify",), ["mo"])), [(("notify", 0), "notify: mo signs, and is told anyway")]),
    (
        "notify-asked",
        edited((("notify",), ["org"]), (("acknowledge",), {"org": "PT1H"})),
        [(("notify", 0), "notify: org signs, and is told anyway")],
    ),
    (
        "notify-moneta",
        edited((("notify",), ["moneta"])),
        [(("notify", 0), "notify: expected one of mo, publisher, org, got 'moneta'")],
    ),
    (
        "new-key-without-a-field",
        edited((ORDER, ["org", "org_new_key", "moneta"]), (REQUIRED, ["org", "org_new_key", "moneta"])),
        [
            (FIELDS, "required_fields: org_new_key signs with the field new_key"),
            (ORDER, "signing_order: nothing finalizes a contract that has come to pending_org_new_key_signature"),
            ((*ORDER, 2), IDLE),
        ],
    ),
    (
        "new-key-before-the-old",
        edited(
            (ORDER, ["org_new_key", "org", "moneta"]),
            (REQUIRED, ["org", "org_new_key", "moneta"]),
            (FIELDS, ["new_key"]),
        ),
        [(ORDER, "signing_order: org signs before org_new_key")],
    ),
    (
        "guard-pending-without-org",
        edited((("guards",), ["organization_pending"])),
        [(("guards",), "guard organization_pending: there is nothing to check, since org does not sign")],
    ),
    ("step-empty", edited((ORDER, ["mo", []])), [((*ORDER, 1), "signing_order: a step has at least one role")]),
    ("order-role-twice", order("mo", "moneta", "mo"), [((*ORDER, 2), DOUBLED), ((*ORDER, 2), IDLE)]),
    (
        "order-role-twice-in-a-step",
        order("mo", ["moneta", "moneta"]),
        [((*ORDER, 1, 1), DOUBLED.replace("mo ", "moneta "))],
    ),
    (
        "order-endless",
        order(*["mo", "moneta"] * TEMPLATE_ROLES_MAX),
        [
            ((*ORDER, index), message)
            for index in range(2, TEMPLATE_ROLES_MAX)
            for message in (DOUBLED if index % 2 == 0 else DOUBLED.replace("mo ", "moneta "), IDLE)
        ],
    ),
    (
        "order-begins-with-a-group",
        order(["mo", "publisher"], "moneta"),
        [((*ORDER, 0), "signing_order: the first step is one role, the initiator")],
    ),
    (
        "order-and-required-differ",
        edited((REQUIRED, ["mo", "moneta"])),
        [(ORDER, "signing_order: expected the same roles as required_signatures")],
    ),
    (
        "without-moneta",
        order("mo", "publisher"),
        [(ORDER, ALONE)],
    ),
    ("a-party-alone", order("mo"), [(ORDER, ALONE)]),
    ("nobody", order(), [(ORDER, ALONE)]),
    (
        "required-twice",
        edited((REQUIRED, ["mo", "moneta", "publisher", "mo"])),
        [((*REQUIRED, 3), "signature_rules.required_signatures: 'mo' stands twice")],
    ),
    (
        "guard-unknown",
        edited((("guards",), ["weather_fine"])),
        [(("guards", 0), f"unknown guard: 'weather_fine'; known are {', '.join(Guard)}")],
    ),
    (
        "guard-idle",
        edited((("guards",), ["mpass_active"]), (FIELDS, [])),
        [
            (
                ("guards", 0),
                "guard mpass_active: there is nothing to check, since mpass_id is not in required_fields",
            )
        ],
    ),
    (
        "effect-without-its-fields",
        edited((("effects",), {"on_finalized": ["issue_mpass"]}), (FIELDS, ["mo_id", "mpass.number"])),
        [(("effects", "on_finalized", 0), "effect issue_mpass: mpass.member_ref is not in required_fields")],
    ),
    (
        "effect-in-another-s-name",
        {
            **order("publisher", "moneta"),
            "effects": {"on_finalized": ["issue_mpass"]},
            "schema": {"required_fields": ISSUING},
        },
        [(("effects", "on_finalized", 0), "effect issue_mpass: mo has not signed by then")],
    ),
    (
        "effect-too-early",
        {
            **order("publisher", ["moneta", "mo"]),
            "effects": {"on_reserve": ["issue_mpass"]},
            "schema": {"required_fields": ISSUING},
        },
        [
            (("effects", "on_reserve", 0), "effect issue_mpass: it can't be done on_reserve, only on_finalized"),
            (("effects", "on_reserve", 0), "effect issue_mpass: mo has not signed by then"),
        ],
    ),
    (
        "effect-twice",
        edited((("effects",), {"on_finalized": ["issue_mpass", "issue_mpass"]}), (FIELDS, ISSUING)),
        [(("effects", "on_finalized", 1), "effects.on_finalized: 'issue_mpass' stands twice")],
    ),
    (
        "effect",
        edited((("effects",), {"on_reserve": ["hold"]})),
        [(("effects", "on_reserve", 0), f"unknown effect: 'hold'; known are {', '.join(Effect)}")],
    ),
    (
        "effect-with-arguments",
        edited((("effects",), {"on_expired": [{"release": 1}]})),
        [(("effects", "on_expired", 0), "effects.on_expired: expected a name, got object")],
    ),
    (
        "effect-phase",
        edited((("effects",), {"on_monday": []})),
        [(("effects", "on_monday"), "unknown key 'on_monday' in effects")],
    ),
    *(
        (
            f"expires-{duration!r}",
            edited((("expires_in",), duration)),
            [(("expires_in",), NO_DURATION)],
        )
        for duration in (3600, "PT0S", "P1M", "P1Y", "3600", f"PT{EXPIRES_IN_S_MAX + 1}S")
    ),
    (
        "several-in-order",
        edited((("version",), 0), (("guards",), ["x"]), (("color",), 1)),
        [
            (("version",), "version: expected an integer from 1 to 2147483647"),
            (("guards", 0), f"unknown guard: 'x'; known are {', '.join(Guard)}"),
            (("color",), "unknown key 'color' in template"),
        ],
    ),
]


@pytest.mark.parametrize(("document", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_each_mistake_is_named_at_its_place(document, expected):
    assert read(document) == expected


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("PT1S", 1),
        ("PT72H", 259_200),
        ("P1D", 86_400),
        ("P2W", 1_209_600),
        ("P1DT2H3M4S", 93_784),
        ("PT90M", 5_400),
        *(
            (text, None)
            for text in ("P", "PT", "P1DT", "", "T1S", "1D", "P1W1D", "P1Y", "P1M", "PT1.5S", "P-1D", "+P1D")
        ),
        *((text, None) for text in ("PT1S\n", "pt1s", "PT\u0661S", "PT9999999999S", "PT1S1S", "PT1M1H", " PT1S")),
    ],
)
def test_a_duration_has_a_fixed_length_in_whole_units_or_is_none(duration, seconds):
    assert seconds_of(duration) == seconds


def test_a_problem_without_a_line_of_its_own_stands_at_the_nearest_value_around_it():
    findings = Findings({(): 1, ("a",): 7})
    assert [findings.line_of(path) for path in ((), ("a",), ("a", 0, "b"), ("c",))] == [1, 7, 7, 1]


# JSON Schema.


def test_money_is_found_wherever_properties_and_items_lead():
    template = read(
        schema(
            members(
                fee={"format": "money", "type": "string", "decimals": 6},
                lines={"type": "array", "items": members(price={"format": "money", "allow_zero": True})},
            )
        )
    )
    assert set(template.money_rules) == {
        MoneyRule(path=("fee",), decimals=6),
        MoneyRule(path=("lines", "[]", "price"), allows_zero=True),
    }


@pytest.mark.parametrize(
    "json_schema",
    [
        pytest.param({"$schema": DIALECT, "$id": "https://example.com/a", "$comment": "x"}, id="dialect"),
        pytest.param({"x-colour": "blue", "title": "A"}, id="ones-own-keyword"),
        pytest.param({"$ref": "#/$defs/a~1b~0", "$defs": {"a/b~": {"type": "object"}}}, id="local-reference"),
        pytest.param(
            {"$defs": {"a": {"items": {}}}, "properties": {"b": {"$ref": "#/$defs/a/items"}}}, id="into-a-def"
        ),
        pytest.param(members(a={"default": {"$ref": "http://a"}, "enum": [{"format": "x"}]}), id="data-is-no-schema"),
        pytest.param(members(**{"$ref": {"type": "string"}, "format": {}}), id="properties-named-as-keywords"),
        pytest.param(members(when={"format": "date-time"}, amount={"type": "string"}), id="known-formats"),
        pytest.param({"properties": [], "allOf": {}, "items": 3, "$ref": 1, "pattern": 1}, id="malformed-passed-over"),
    ],
)
def test_a_schema_that_the_rules_have_nothing_against(json_schema):
    assert read(schema(json_schema)).money_rules == ()


ONLY_THERE = "JSON Schema: format: money counts only on a member that properties and items alone lead to"
MONEY = {"format": "money"}


@pytest.mark.parametrize(
    ("json_schema", "place", "message"),
    [
        pytest.param(MONEY, ("format",), ONLY_THERE, id="money-payload-itself"),
        pytest.param(
            members(a={"items": MONEY}), ("properties", "a", "items", "format"), ONLY_THERE, id="money-in-an-array"
        ),
        pytest.param(
            {"$defs": {"a": members(b=MONEY)}},
            ("$defs", "a", "properties", "b", "format"),
            ONLY_THERE,
            id="money-in-a-def",
        ),
        pytest.param(
            {"anyOf": [members(b=MONEY)]},
            ("anyOf", 0, "properties", "b", "format"),
            ONLY_THERE,
            id="money-on-a-branch",
        ),
        pytest.param(
            {"patternProperties": {"a": MONEY}}, ("patternProperties", "a", "format"), ONLY_THERE, id="money-by-pattern"
        ),
        pytest.param(
            members(a={"decimals": 2}),
            ("properties", "a", "decimals"),
            "JSON Schema: decimals belongs beside format: money",
            id="decimals-alone",
        ),
        pytest.param(
            members(a={"format": "date", "allow_zero": True}),
            ("properties", "a", "allow_zero"),
            "JSON Schema: allow_zero belongs beside format: money",
            id="allow-zero-alone",
        ),
        *(
            pytest.param(
                members(a={**MONEY, "decimals": decimals}),
                ("properties", "a", "decimals"),
                "JSON Schema: decimals: expected an integer from 0 to 8",
                id=f"decimals-{decimals!r}",
            )
            for decimals in (9, -1, True, "2")
        ),
        pytest.param(
            members(a={**MONEY, "allow_zero": 1}),
            ("properties", "a", "allow_zero"),
            "JSON Schema: allow_zero: expected true or false",
            id="allow-zero-no-boolean",
        ),
        pytest.param(
            members(amount={"type": "number"}),
            ("properties", "amount", "type"),
            "JSON Schema: money is a decimal string: expected type: string",
            id="amount-a-number",
        ),
        pytest.param(
            {"allOf": [members(amount={"maximum": 3})]},
            ("allOf", 0, "properties", "amount", "maximum"),
            "JSON Schema: maximum says nothing of money, a decimal string",
            id="amount-with-a-maximum",
        ),
        pytest.param({"requird": []}, ("requird",), "JSON Schema: unknown or refused keyword 'requird'", id="typo"),
        *(
            pytest.param(
                {"items": {keyword: "x"}},
                ("items", keyword),
                f"JSON Schema: unknown or refused keyword {keyword!r}",
                id=keyword,
            )
            for keyword in ("$dynamicRef", "$anchor", "$recursiveRef", "$vocabulary", "definitions", "contentSchema")
        ),
        pytest.param({"not": {"$id": "a"}}, ("not", "$id"), "JSON Schema: $id belongs at the top", id="id-inside"),
        pytest.param(
            {"$schema": "http://127.0.0.1/x"}, ("$schema",), f"JSON Schema: $schema: expected {DIALECT}", id="dialect"
        ),
        pytest.param(
            members(a={"format": "monney"}),
            ("properties", "a", "format"),
            "JSON Schema: format: expected one of date, date-time, duration, email, hostname, ipv4, ipv6, money, time, "
            "uri, uuid",
            id="format-unknown",
        ),
        *(
            pytest.param(
                {"$ref": reference},
                ("$ref",),
                f"JSON Schema: $ref: expected #/$defs/<name>, got {reference!r}",
                id=f"ref-{reference}",
            )
            for reference in ("http://127.0.0.1/x", "file:///x", "other.json", "", "#/properties/a", "#/$defs/%61")
        ),
        pytest.param(
            {"$ref": "#/$defs/a/default", "$defs": {"a": {"default": {}}}},
            ("$ref",),
            "JSON Schema: $ref: there is no schema at '#/$defs/a/default'",
            id="ref-to-data",
        ),
        pytest.param(
            {"pattern": "a" * (PATTERN_CHARS_MAX + 1)},
            ("pattern",),
            "JSON Schema: a pattern has at most 256 characters",
            id="pattern-long",
        ),
        pytest.param(
            {"patternProperties": {"a" * 257: True}},
            ("patternProperties", "a" * 257),
            "JSON Schema: a pattern has at most 256 characters",
            id="pattern-of-names-long",
        ),
        pytest.param(
            {"allOf": [{"pattern": str(number)} for number in range(TEMPLATE_PATTERNS_MAX + 1)]},
            ("allOf", TEMPLATE_PATTERNS_MAX, "pattern"),
            "JSON Schema: at most 32 patterns",
            id="patterns-many",
        ),
    ],
)
def test_what_a_schema_must_not_say_is_named_at_its_place(json_schema, place, message):
    assert read(schema(json_schema)) == [((*SCHEMA, *place), message)]


def bomb(levels):
    """Return a schema of that many levels, each of which checks the next one twice."""
    twice = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**twice, f"a{levels}": {}}}


@pytest.mark.parametrize(
    "json_schema",
    [
        pytest.param(bomb(40), id="bomb"),
        pytest.param({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, id="cycle"),
        pytest.param({"$ref": "#/$defs/a", "$defs": {"a": members(b={"$ref": "#/$defs/a"})}}, id="cycle-downwards"),
        pytest.param({"allOf": [True] * TEMPLATE_SUBSCHEMAS_MAX}, id="simply-many"),
    ],
)
def test_a_schema_whose_checking_may_not_end_is_refused(json_schema):
    message = "JSON Schema: more than 1000 subschemas, or a $ref that leads back to itself"
    assert read(schema(json_schema)) == [(SCHEMA, message)]


def test_a_schema_that_refers_to_itself_whole_is_refused_for_both_reasons():
    (cycle, _), (reference, message) = read(schema({"$ref": "#"}))
    assert (cycle, reference, message) == (
        SCHEMA,
        (*SCHEMA, "$ref"),
        "JSON Schema: $ref: expected #/$defs/<name>, got '#'",
    )


def test_a_schema_as_large_as_is_allowed_is_taken():
    assert isinstance(read(schema({"allOf": [True] * (TEMPLATE_SUBSCHEMAS_MAX - 1)})), Template)
    assert isinstance(read(schema(bomb(5))), Template)


# Contracts under a template.

TRANSACTION = {"amount": "100.00", "currency": "USD"}
BODY = {
    "contract_id": "c1",
    "template_id": "transaction-contract",
    "version": 1,
    "mo_id": "m",
    "publisher_id": "p",
    "mpass_id": "x",
    "created_at": 1,
    "payload": {"transaction": TRANSACTION},
}


def checked(body, template=None):
    return check_body(body, body_of(body), template or read(ADR))


def test_a_contract_with_all_that_its_template_requires_shows_its_payload():
    assert checked(BODY) == BODY["payload"]


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"mo_id": GONE}, MissingFieldError, "mo_id"),
        ({"publisher_id": GONE}, MissingFieldError, "publisher_id"),
        ({"mpass_id": GONE}, MissingFieldError, "mpass_id"),
        ({"payload": {}}, MissingFieldError, "amount"),
        ({"payload": {"a": {"b": TRANSACTION}}}, MissingFieldError, "amount"),
        ({"payload": {"amount": None, "currency": "USD"}}, MissingFieldError, "amount"),
        ({"payload": {"a": TRANSACTION, "b": {"amount": "1"}}}, AmbiguousFieldError, "amount"),
        ({"payload": {"a": TRANSACTION, "mpass_id": "x"}}, AmbiguousFieldError, "mpass_id"),
        ({"payload": {"a": {"amount": "0", "currency": "USD"}}}, InvalidAmountError, "a.amount"),
    ],
)
def test_a_contract_that_lacks_something_is_refused_by_its_name(change, error, field):
    body = {name: value for name, value in (BODY | change).items() if value is not GONE}
    with pytest.raises(error) as refused:
        checked(body)
    assert refused.value.facts["field"] == field


def test_the_publisher_need_not_be_named_where_it_does_not_sign():
    template = read(edited((ORDER, ["mo", "moneta"]), (REQUIRED, ["mo", "moneta"]), (FIELDS, [])))
    assert checked({name: BODY[name] for name in BODY if name != "publisher_id"}, template) == BODY["payload"]


def test_a_dotted_path_says_which_of_two_amounts_is_meant():
    template = read(edited((FIELDS, ["a.amount"])))
    assert checked(BODY | {"payload": {"a": TRANSACTION, "b": TRANSACTION}}, template)
    with pytest.raises(MissingFieldError):
        checked(BODY | {"payload": {"a": "amount"}}, template)


RULES = (
    MoneyRule(path=("fee",), decimals=6),
    MoneyRule(path=("amount",), allows_zero=True),
    MoneyRule(path=("lines", "[]", "price"), decimals=8),
)


def view(payload, rules=RULES):
    template = read(ADR)
    return payload_view(payload, Template(**{name: getattr(template, name) for name in NAMES}, money_rules=rules))


NAMES = ("name", "version", "description", "sha256", "signing_order", "required_fields", "guards")


def test_a_view_shows_money_as_the_digits_written_and_all_else_as_it_is():
    payload = {
        "amount": NumberText("0.00"),
        "fee": "0.000125",
        "currency": "USD",
        "rate": NumberText("1.50"),
        "lines": [{"price": 7, "currency": "JPY"}, {"amount": NumberText("1.10"), "currency": "EUR"}, "x", None, [2]],
    }
    assert view(payload) == {
        "amount": "0.00",
        "fee": "0.000125",
        "currency": "USD",
        "rate": NumberText("1.50"),
        "lines": [{"price": "7", "currency": "JPY"}, {"amount": "1.10", "currency": "EUR"}, "x", None, [2]],
    }


@pytest.mark.parametrize(
    ("payload", "error", "field"),
    [
        pytest.param({"amount": "1"}, MissingFieldError, "currency", id="no-currency"),
        pytest.param(
            {"a": {"amount": "1"}, "currency": "USD"}, MissingFieldError, "a.currency", id="currency-elsewhere"
        ),
        pytest.param({"fee": "1", "a": TRANSACTION}, MissingFieldError, "currency", id="fee-without-currency"),
        pytest.param(
            {"a": [{"amount": "1", "currency": None}]}, MissingFieldError, "a[0].currency", id="null-currency"
        ),
        pytest.param(
            {"a": [[{"amount": "1", "currency": "XXX"}]]}, InvalidAmountError, "a[0][0].currency", id="no-money"
        ),
        pytest.param({"amount": None, "currency": "USD"}, InvalidAmountError, "amount", id="null"),
        pytest.param({"amount": {"amount": "1"}, "currency": "USD"}, InvalidAmountError, "amount", id="object"),
        pytest.param({"a": {"amount": "0", "currency": "USD"}}, InvalidAmountError, "a.amount", id="zero-elsewhere"),
        pytest.param({"fee": "0", "currency": "USD"}, InvalidAmountError, "fee", id="zero-fee"),
        pytest.param({"amount": "0.001", "currency": "USD"}, InvalidAmountError, "amount", id="decimals"),
        pytest.param({"fee": "0.0000001", "currency": "USD"}, InvalidAmountError, "fee", id="decimals-fee"),
        pytest.param(
            {"lines": [{"price": "0.1234567", "currency": "USD"}]}, InvalidAmountError, "lines[0].price", id="ledger"
        ),
    ],
)
def test_money_that_is_none_is_refused_by_its_path(payload, error, field):
    with pytest.raises(error) as refused:
        view(payload)
    assert refused.value.facts["field"] == field


def test_a_payload_as_deep_as_a_body_can_be_is_walked_whole():
    payload = TRANSACTION | {"amount": 1}
    for _ in range(14):
        payload = {"a": payload}
    assert str(view(payload)).count("'amount': '1'") == 1


def test_a_draft_can_only_be_published():
    record = TemplateRecord(
        name="a", version=1, description=None, payload=b"", sha256="", status=TemplateStatus.DRAFT, created_at=1
    )
    check_transition(record, TemplateStatus.PUBLISHED)
    with pytest.raises(TransitionRefusedError) as refused:
        check_transition(record, TemplateStatus.RETIRED)
    assert refused.value.facts["allowed"] == ["published"]
