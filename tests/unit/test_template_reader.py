"""Templates as bytes: the ones that ship with their examples, and hostile ones that end as problems with lines."""

import hashlib
import json
import os
import re
import socket
from base64 import urlsafe_b64encode
from pathlib import Path

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.adapters import plain_yaml, template_reader
from moneta.adapters.template_reader import YAMLTemplateReader, builtin_templates
from moneta.domain.errors import SchemaMismatchError, TemplateInvalidError
from moneta.domain.ijson import NumberText
from moneta.domain.schema_rules import FORMATS
from moneta.domain.template_verbs import DEFAULT_GUARDS
from moneta.domain.templates import Guard, Role

TEMPLATES = Path(__file__).parents[2] / "templates"
MO, PUBLISHER, MONETA = Role.MO, Role.PUBLISHER, Role.MONETA

ADR = b"""\
template_name: "transaction-contract"
version: 1
schema:
  required_fields:
    - contract_id
    - amount
  json_schema: {SCHEMA}
signature_rules:
  required_signatures: ["mo", "moneta", "publisher"]
  signing_order: ["mo", "moneta", "publisher"]
"""
SCHEMA_LINE = 7
TAGS, NO_NUMBER = "tags are not allowed", "infinity and NaN are not allowed"


def with_schema(schema):
    """Return a template with this JSON Schema, as JSON on one line, which is YAML too."""
    text = schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)
    return ADR.replace(b"{SCHEMA}", text.encode())


def linted(payload):
    return [(problem.line, problem.message) for problem in YAMLTemplateReader().lint(payload)]


# The templates that ship.


@pytest.fixture(scope="module")
def compiled():
    reader = YAMLTemplateReader()
    templates = [reader.compile(payload) for payload in builtin_templates()]
    return {f"{one.template.name}-{one.template.version}": one for one in templates}


def test_the_templates_that_ship_stand_in_the_package_and_are_free_of_problems():
    files = [path.read_bytes() for path in sorted(TEMPLATES.glob("*.yaml"))]
    assert builtin_templates() == files
    assert [linted(payload) for payload in files] == [[]] * len(files)


def test_a_template_that_ships_is_named_as_its_file(compiled):
    assert {f"{path.stem}-1" for path in TEMPLATES.glob("*.yaml")} == compiled.keys()


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("transaction-contract-1", ((MO,), (MONETA,), (PUBLISHER,))),
        ("charge-contract-1", ((PUBLISHER,), (MONETA,), (MO,))),
        ("joint-campaign-agreement-1", ((MO,), (PUBLISHER, MONETA))),
    ],
)
def test_who_signs_and_in_which_order(compiled, name, order):
    assert compiled[name].template.signing_order == order


def test_the_adrs_template_checks_that_everybody_is_active(compiled):
    assert compiled["transaction-contract-1"].template.guards == {*DEFAULT_GUARDS, Guard.MPASS_ACTIVE}


# YAML.


def test_a_template_is_known_by_the_digest_of_its_bytes():
    payload = with_schema("true")
    sha256 = urlsafe_b64encode(hashlib.sha256(payload).digest()).rstrip(b"=").decode()
    assert YAMLTemplateReader().compile(payload).template.sha256 == sha256


def test_the_same_bytes_are_compiled_once():
    reader, payload = YAMLTemplateReader(), with_schema("true")
    assert reader.compile(payload) is reader.compile(bytes(bytearray(payload)))


def test_scalars_are_those_of_the_core_schema_of_yaml_1_2():
    read = plain_yaml.read(
        b"no: no\nyes: Yes\nnorway: NO\ntime: 22:30\nday: 2026-11-24\nzero: 010\noctal: 0o10\nhex: 0xfF\n"
        b"signed: [-3, +4]\n"
        b"underscore: 1_000\nempty:\ntilde: ~\nnull_: Null\nbool: [true, False, TRUE]\nquoted: ['1', \"true\"]\n"
        b'exact: [100.00, 1e3, .5, 1., -0.1E-2]\nblock: |\n  1\nequals: =\nunicode: "\\u00e9\\U0001F600"\n'
    )  # fmt: skip
    assert read.findings.problems == []
    assert read.value == {
        "no": "no",
        "yes": "Yes",
        "norway": "NO",
        "time": "22:30",
        "day": "2026-11-24",
        "zero": 10,
        "octal": 8,
        "hex": 255,
        "signed": [-3, 4],
        "underscore": "1_000",
        "empty": None,
        "tilde": None,
        "null_": None,
        "bool": [True, False, True],
        "quoted": ["1", "true"],
        "exact": [NumberText(digits) for digits in ("100.00", "1e3", ".5", "1.", "-0.1E-2")],
        "block": "1\n",
        "equals": "=",
        "unicode": "\u00e9\U0001f600",
    }


def test_every_value_has_the_line_of_its_key_or_its_own_in_a_list():
    lines = plain_yaml.read(b"a:\n  - 1\n  - b:\n      2\n\nc: {d: 3,\n  e: 4}\n").findings.lines
    assert lines == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 3,
        ("c",): 6,
        ("c", "d"): 6,
        ("c", "e"): 7,
    }


@pytest.mark.parametrize(
    ("payload", "problems"),
    [
        pytest.param(b"", [(1, "expected a document, got none")], id="empty"),
        pytest.param(b"# nothing\n", [(1, "expected a document, got none")], id="comment"),
        pytest.param(b"#" * (64 * 1024 + 1), [(1, "more than 65536 bytes")], id="large"),
        pytest.param(b"a: 1\nb: \xff\n", [(2, "not UTF-8")], id="not-utf-8"),
        pytest.param("a: 1\n".encode("utf-16"), [(1, "not UTF-8")], id="utf-16"),
        pytest.param(b"a: 1\nb: &x 2\n", [(2, "anchors are not allowed")], id="anchor"),
        pytest.param(b"a: &x 1\nb: *x\n", [(1, "anchors are not allowed"), (2, "aliases are not allowed")], id="alias"),
        pytest.param(b"a: 1\n? &x b\n: 1\n", [(2, "anchors are not allowed")], id="anchor-on-a-key"),
        pytest.param(
            b"a: &x 1\n*x : 2\n", [(1, "anchors are not allowed"), (2, "aliases are not allowed")], id="alias-as-a-key"
        ),
        pytest.param(b"a: !!str 1\n", [(1, TAGS)], id="tag"),
        pytest.param(b"a: !!python/object:os.system x\n", [(1, TAGS)], id="tag-python"),
        pytest.param(b"a: !<tag:x> []\nb: ! {}\n", [(1, TAGS), (2, TAGS)], id="tags"),
        pytest.param(b"a: 1\n<<: {b: 2}\n", [(2, "merge keys are not allowed")], id="merge"),
        pytest.param(b"a: 1\nb: 2\na: 3\n", [(3, "key 'a' stands twice")], id="duplicate"),
        pytest.param(b"a: 1\n'a': 3\n", [(2, "key 'a' stands twice")], id="duplicate-quoted"),
        pytest.param(b"--- 1\n--- 2\n", [(2, "expected one document, got a second")], id="documents"),
        pytest.param(b"1: 1\n", [(1, "a key must be text, got '1': put it in quotes")], id="key-integer"),
        pytest.param(b"a: 1\ntrue: 1\n", [(2, "a key must be text, got 'true': put it in quotes")], id="key-boolean"),
        pytest.param(b"? \n: 1\n", [(1, "a key must be text, got '': put it in quotes")], id="key-null"),
        pytest.param(b"[a]: 1\n", [(1, "a key must be text")], id="key-list"),
        pytest.param(b"? {a: 1}\n: 1\n", [(1, "a key must be text")], id="key-mapping"),
        pytest.param(b"%YAML 1.1\n---\na: 1\n", [(2, "directives are not allowed")], id="directive"),
        pytest.param(b"%TAG !e! tag:x,\n---\na: 1\n", [(2, "directives are not allowed")], id="directive-tag"),
        pytest.param(b"a: .inf\nb: [-.INF]\n", [(1, NO_NUMBER), (2, NO_NUMBER)], id="inf"),
        pytest.param(b"a: .NaN\n", [(1, NO_NUMBER)], id="nan"),
        pytest.param(b"a: 9007199254740992\n", [(1, "an integer beyond \u00b1(2^53-1)")], id="integer"),
        pytest.param(b"a: " + b"9" * 5000, [(1, "an integer beyond \u00b1(2^53-1)")], id="digits"),
        pytest.param(b"a: 1e" + b"9" * 30, [(1, "a number's exponent is out of range")], id="exponent"),
        pytest.param(b'a: "\\ud800"\n', [(1, "an unpaired surrogate in a text")], id="surrogate"),
        pytest.param(b'"\\ud800": 1\n', [(1, "an unpaired surrogate in a text")], id="surrogate-in-a-key"),
        pytest.param(b"a: " + b"[" * 16 + b"]" * 16, [(1, "nested deeper than 16")], id="deep"),
        pytest.param(b"[" * 65536, [(1, "nested deeper than 16")], id="deep-flow"),
        pytest.param(b"{a: " * 16384, [(1, "nested deeper than 16")], id="deep-mappings"),
        pytest.param(b"- " * 32768, [(1, "nested deeper than 16")], id="deep-block"),
        pytest.param(b"a:\n" + b"- 1\n" * 5000, [(4999, "more than 5000 keys and values")], id="many"),
    ],
)  # fmt: skip
def test_yaml_that_is_not_plain_is_refused_with_its_line(payload, problems):
    assert linted(payload) == problems


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        pytest.param(b"a: 1\nb: [1\n", 3, id="open"),
        pytest.param(b"a: 1\n\tb: 2\n", 2, id="tab"),
        pytest.param(b"a: 1\nb: 'x\n", 3, id="open-quote"),
        pytest.param(b"a: b: c\n", 1, id="colons"),
        pytest.param(b"a: 1\nb: *nowhere&\n", 2, id="odd-alias"),
        pytest.param(b"a: 1\nb: \x00\n", 2, id="nul"),
        pytest.param(b'a: "\\Uffffffff"\n', 1, id="no-code-point"),
        pytest.param(b"%YAML " + b"9" * 5000 + b".1\n---\na: 1\n", 1, id="vast-version"),
        pytest.param(b"%" * 65536, 1, id="percents"),
        pytest.param(b"[" + b"a," * 2000, 1, id="never-closed"),
    ],
)
def test_what_is_not_yaml_is_one_problem_that_quotes_no_document(payload, line):
    (problem,) = linted(payload)
    assert problem[0] == line
    assert len(problem[1]) < 256


def test_an_alias_bomb_ends_at_its_first_anchor():
    payload = b"a: &a [x, x]\n" + b"".join(
        b"%c: &%c [*%c, *%c]\n" % (ord("b") + at, ord("b") + at, ord("a") + at, ord("a") + at) for at in range(20)
    )
    assert linted(payload)[0] == (1, "anchors are not allowed")


def test_only_the_first_hundred_problems_are_shown():
    assert len(linted(b"- &a 1\n" * 200)) == 100


@given(st.binary(max_size=200) | st.text(alphabet="a:-?[]{}&*!|>'\"%@` \n\t#,.0<\\u", max_size=60).map(str.encode))
def test_whatever_the_bytes_are_they_are_read_or_refused(payload):
    assert linted(payload)


# Rules, with lines.


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        (b"version: 1", b"version: x", [(2, "version: expected an integer from 1 to 2147483647")]),
        (b"version: 1", b"verzion: 1", [(1, "template: version is missing"), (2, "unknown key 'verzion' in template")]),
        (
            b"    - amount",
            b"    - amount\n    - amount",
            [(6 + 1, "schema.required_fields: 'amount' stands twice")],
        ),
        (
            b"signature_rules:",
            b"guards:\n  - organizations_active\n  - x\nsignature_rules:",
            [(10, f"unknown guard: 'x'; known are {', '.join(Guard)}")],
        ),
    ],
)
def test_a_problem_has_the_line_that_an_author_would_look_at(old, new, problems):
    assert linted(with_schema("true").replace(old, new)) == problems


def test_an_invalid_template_lists_its_problems_with_their_lines():
    with pytest.raises(TemplateInvalidError) as refused:
        YAMLTemplateReader().compile(with_schema("true").replace(b"version: 1", b"version: x\nnotify: [publisher]"))
    assert refused.value.facts["problems"] == [
        "line 2: version: expected an integer from 1 to 2147483647",
        "line 3: notify: publisher signs, and is told anyway",
    ]


# JSON Schema.


def test_every_fault_of_a_schemas_form_has_its_line():
    payload = with_schema("\n    type: strin\n    properties:\n      a: {minLength: -1}\n      b: 3\n    required: a\n")
    assert [line for line, _ in linted(payload)] == [8, 10, 11, 12]


def test_the_rules_and_the_standard_are_asked_at_once():
    payload = with_schema('{"properties": {"a": 3},\n "requird": []}')
    assert [line for line, _ in linted(payload)] == [7, 8]


@pytest.mark.parametrize(
    ("pattern", "is_taken"),
    [
        ("(a+)+$", True),
        (r"^\w{1,250}$", True),
        (r"^\p{Lu}\p{L}+$", True),
        ("(?=a)b", False),
        ("(?<!a)b", False),
        (r"(a)\1", False),
        ("[", False),
        ("((a{99}){99}){99}", False),
    ],
)
def test_a_pattern_is_one_that_a_linear_engine_takes(pattern, is_taken):
    problem = (SCHEMA_LINE, f'JSON Schema: {json.dumps(pattern)} is not a "regex"')
    assert linted(with_schema({"items": {"pattern": pattern}})) == ([] if is_taken else [problem])
    assert (linted(with_schema({"patternProperties": {pattern: True}})) == []) is is_taken


def test_a_pattern_that_other_engines_choke_on_is_matched_at_once():
    compiled = YAMLTemplateReader().compile(with_schema({"properties": {"a": {"pattern": "(a+)+$"}}}))
    with pytest.raises(SchemaMismatchError):
        compiled.check_payload({"a": "a" * 100_000 + "b"})


def test_no_reference_is_followed_out_of_the_template(tmp_path):
    canary = tmp_path / "canary.json"
    canary.write_text('{"const": 42}')
    os.utime(canary, ns=(1, 1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)  # noqa: FBT003  # the standard library's own signature
        http = f"http://127.0.0.1:{listener.getsockname()[1]}/canary"
        for schema in (
            *(
                {key: uri}
                for uri in (http, canary.as_uri())
                for key in ("$ref", "$dynamicRef", "$schema", "$recursiveRef")
            ),
            {"$id": http, "$ref": "canary.json"},
            {"$defs": {"a": {"$id": http}}, "$ref": f"{http}#/$defs/a"},
        ):
            assert linted(with_schema(schema)), schema
            # The rules refuse these; the retriever must too, should a rule ever let one through.
            try:
                jsonschema_rs.Draft202012Validator(schema, **template_reader._OPTIONS).is_valid(1)
            except jsonschema_rs.ValidationError:
                continue
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert canary.stat().st_atime_ns == 1
    # The canary would have been heard: left to itself, the library opens it.
    assert jsonschema_rs.Draft202012Validator({"$ref": canary.as_uri()}).is_valid(42)


def test_an_identifier_of_a_schema_is_a_name_and_never_fetched():
    schema = {"$id": "http://127.0.0.1:9/a", "$defs": {"a": {"type": "object"}}, "$ref": "#/$defs/a"}
    assert linted(with_schema(schema)) == []


def test_an_identifier_that_is_no_uri_is_a_problem():
    assert linted(with_schema({"$id": "::::"})) != []


PAYLOAD_SCHEMA = {
    "type": "object",
    "required": ["note"],
    "additionalProperties": False,
    "properties": {
        "note": {"type": "string", "maxLength": 5},
        "rate": {"type": "number", "maximum": 0.1, "multipleOf": 0.01, "x-not-money": True},
        "count": {"type": "integer"},
        "lines": {"type": "array", "items": {"properties": {"day": {"format": "date"}}}},
        "fee": {"type": "string", "format": "money"},
        "currency": {"type": "string"},
        "tags": {"uniqueItems": True},
    },
}


@pytest.fixture(scope="module")
def checker():
    return YAMLTemplateReader().compile(with_schema(PAYLOAD_SCHEMA))


@pytest.mark.parametrize(
    "payload",
    [
        {"note": "a"},
        {"note": "a", "rate": NumberText("0.07")},
        {"note": "a", "rate": NumberText("0.10")},
        {"note": "a", "rate": NumberText("-0")},
        {"note": "a", "count": 3},
        {"note": "a", "count": NumberText("3.0")},
        {"note": "a", "lines": [{"day": "2028-02-29"}], "fee": "1.00"},
    ],
)
def test_a_payload_that_satisfies_the_schema_passes(checker, payload):
    checker.check_payload(payload)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "payload"),
        ({"note": "a", "secret": 1}, "payload"),
        ({"note": "abcdef"}, "note"),
        ({"note": "a", "rate": NumberText("0.100000000000000000000001")}, "rate"),
        ({"note": "a", "rate": NumberText("0.070000000000000000000001")}, "rate"),
        ({"note": "a", "rate": NumberText("1e999999999")}, "rate"),
        ({"note": "a", "rate": NumberText("1e99999999999999999999999")}, "payload"),
        ({"note": "a", "count": NumberText("3.5")}, "count"),
        ({"note": "a", "lines": [{}, {"day": "2027-02-29"}]}, "lines[1].day"),
        ({"note": "a", "tags": [NumberText("1.0"), NumberText("1.00")]}, "tags"),
    ],
)
def test_a_payload_that_does_not_is_refused_by_the_path_of_its_fault(checker, payload, field):
    with pytest.raises(SchemaMismatchError) as refused:
        checker.check_payload(payload)
    assert refused.value.facts["field"] == field


def test_every_format_that_the_rules_know_is_checked():
    no_such = {
        "date": "2027-02-30",
        "date-time": "2027-02-03",
        "time": "25:00:00Z",
        "duration": "P",
        "email": "a",
        "hostname": "-a",
        "ipv4": "1.2.3",
        "ipv6": ":",
        "uri": "a b",
        "uuid": "1",
    }
    assert no_such.keys() == FORMATS - {"money"}
    for name, text in no_such.items():
        compiled = YAMLTemplateReader().compile(with_schema({"properties": {"a": {"format": name}}}))
        with pytest.raises(SchemaMismatchError):
            compiled.check_payload({"a": text})


def test_a_refusal_never_shows_the_payload(checker):
    with pytest.raises(SchemaMismatchError) as refused:
        checker.check_payload({"note": "secret" * 1000})
    assert "secret" not in refused.value.detail
    with pytest.raises(SchemaMismatchError) as refused:
        checker.check_payload({"note": "a", "x" * 10_000: 1})
    assert len(refused.value.detail) < 300


def test_a_template_without_a_schema_takes_any_payload():
    payload = re.sub(rb"  json_schema.*\n", b"", ADR)
    YAMLTemplateReader().compile(payload).check_payload({"anything": NumberText("1e99999999999999999999999")})
