"""What a client of one version trips over under another: each narrowing is told at its place, each loosening is not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from moneta.domain.ijson import NumberText
from moneta.domain.schema_compat import narrowings
from moneta.domain.template_compat import incompatibilities
from moneta.domain.templates import Effect, EffectPhase, Guard, Role, Template

MO, PUBLISHER, MONETA, ORG = Role.MO, Role.PUBLISHER, Role.MONETA, Role.ORG
ON_FINALIZED = EffectPhase.ON_FINALIZED
OLD = Template(
    name="visit",
    version=1,
    description=None,
    sha256="old",
    signing_order=((MO,), (MONETA,), (PUBLISHER,)),
    required_fields=("contract_id", "amount"),
    guards=frozenset({Guard.ORGANIZATIONS_ACTIVE}),
    expires_in_s=3600,
    acknowledge=((Role.ORG, 60),),
)
NEW = replace(OLD, version=2, sha256="new")
ORDER = ("signature_rules", "signing_order")


# fmt: off
VERSIONS = [
    ("nothing",              {},                                            []),
    ("field-gone",           {"required_fields": ("amount",)},              []),
    ("guard-gone",           {"guards": frozenset()},                       []),
    ("longer-term",          {"expires_in_s": 3601},                        []),
    ("no-term",              {"expires_in_s": None},                        []),
    ("parallel-reordered",   {"description": "Another"},                    []),
    ("another-name",         {"name": "stay"},                              [(("template_name",), "another template: visit before, stay now")]),  # noqa: E501  # one row a case
    ("not-newer",            {"version": 1},                                [(("version",), "expected a version above 1, got 1")]),  # noqa: E501  # one row a case
    ("field-added",          {"required_fields": ("contract_id", "mpass_id", "amount")}, [(("schema", "required_fields", 1), "required field added: mpass_id")]),  # noqa: E501  # one row a case
    ("shorter-term",         {"expires_in_s": 60},                          [(("expires_in",), "less time to sign: 3600 s before, 60 s now")]),  # noqa: E501  # one row a case
    ("guard-added",          {"guards": frozenset(Guard)},                  [(("guards",), f"guard added: {guard}") for guard in sorted(set(Guard) - OLD.guards)]),  # noqa: E501  # one row a case
    ("effect-added",         {"effects": {ON_FINALIZED: (Effect.ISSUE_MPASS,)}}, [(("effects", ON_FINALIZED), "on_finalized does another thing: nothing before, issue_mpass now")]),  # noqa: E501  # one row a case
    ("longer-silence",       {"acknowledge": ((ORG, 61),)},                 []),
    ("shorter-silence",      {"acknowledge": ((ORG, 59),)},                 [(("acknowledge", ORG), "silence of org counts sooner: 60 s before, 59 s now")]),  # noqa: E501  # one row a case
    ("another-is-asked",     {"acknowledge": ((ORG, 60), (MO, 60))},        [(("acknowledge", MO), "asked at the end, and silence counts: mo")]),  # noqa: E501  # one row a case
    ("told-instead-of-asked", {"acknowledge": (), "notify": (ORG,)},        []),
    ("told-no-more",         {"acknowledge": ()},                    [((), "not told of the end any more: org")]),
    ("schema-added",         {"json_schema": {"type": "object", "maxProperties": 1}}, [(("schema", "json_schema", "maxProperties"), "JSON Schema: payload: maxProperties: none before, 1 now"), (("schema", "json_schema", "type"), "JSON Schema: payload: type: none before, object now")]),  # noqa: E501  # one row a case
]
# fmt: on


@pytest.mark.parametrize(("changes", "faults"), [row[1:] for row in VERSIONS], ids=[row[0] for row in VERSIONS])
def test_what_a_newer_version_asks_more_is_told(changes, faults):
    assert list(incompatibilities(OLD, replace(NEW, **changes))) == faults


def test_a_term_where_there_was_none_is_told():
    [(path, message)] = incompatibilities(replace(OLD, expires_in_s=None), NEW)
    assert (path, message) == (("expires_in",), "less time to sign: none before, 3600 s now")


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (((MO,), (PUBLISHER,), (MONETA,)), ["mo → moneta → publisher before, mo → publisher → moneta now"]),
        (((MO,), (MONETA, PUBLISHER)), ["mo → moneta → publisher before, mo → moneta and publisher now"]),
        (((MO,), (MONETA,)), ["signer gone: publisher", "mo → moneta → publisher before, mo → moneta now"]),
    ],
)
def test_another_signing_order_is_told(order, faults):
    told = [
        message.removeprefix("signing order changed: ")
        for _, message in incompatibilities(OLD, replace(NEW, signing_order=order))
    ]
    assert told == faults


def test_a_signer_more_and_another_initiator_are_told():
    old = replace(OLD, signing_order=((MO,), (MONETA,)))
    found = incompatibilities(old, replace(NEW, signing_order=((PUBLISHER,), (MONETA,), (MO,))))
    assert [fault for fault in found if not fault[1].startswith("signing order changed")] == [
        (ORDER, "signer added: publisher"),
        ((*ORDER, 0), "started by another: mo before, publisher now"),
    ]


def test_the_order_within_a_parallel_step_is_nobodys_concern():
    old = replace(OLD, signing_order=((MO,), (MONETA, PUBLISHER)))
    assert not incompatibilities(old, replace(old, version=2, signing_order=((MO,), (PUBLISHER, MONETA))))


A = {"$ref": "#/$defs/a"}


def defining(shape, **defs):
    return {**shape, "$defs": defs}


# fmt: off
SCHEMAS = [
    # name                      old                                  new                                  at, what
    ("same",                    {"type": "object"},                  {"type": "object"},                  []),
    ("gone",                    {"type": "object"},                  None,                                []),
    ("true-to-false",           True,                                False,                               [((), "payload: nothing passes any more")]),  # noqa: E501  # one row a case
    ("false-to-anything",       False,                               {"maxProperties": 0},                []),
    ("type-fewer",              {"type": ["string", "null"]},        {"type": "string"},                  [(("type",), "payload: type: ['string', 'null'] before, string now")]),  # noqa: E501  # one row a case
    ("type-more",               {"type": "string"},                  {"type": ["string", "null"]},        []),
    ("type-gone",               {"type": "string"},                  {},                                  []),
    ("integer-to-number",       {"type": "integer"},                 {"type": "number"},                  []),
    ("number-to-integer",       {"type": "number"},                  {"type": "integer"},                 [(("type",), "payload: type: number before, integer now")]),  # noqa: E501  # one row a case
    ("enum-fewer",              {"enum": [1, 2]},                    {"enum": [1]},                       [(("enum",), "payload: enum: [1, 2] before, [1] now")]),  # noqa: E501  # one row a case
    ("enum-more",               {"enum": [1]},                       {"enum": [1, 2]},                    []),
    ("enum-gone",               {"enum": [1]},                       {},                                  []),
    ("const-changed",           {"const": 1},                        {"const": 2},                        [(("const",), "payload: const: 1 before, 2 now")]),  # noqa: E501  # one row a case
    ("format-gone",             {"format": "date"},                  {},                                  []),
    ("minimum-raised",          {"minimum": 1},                      {"minimum": NumberText("1.5")},      [(("minimum",), "payload: minimum: 1 before, 1.5 now")]),  # noqa: E501  # one row a case
    ("minimum-lowered",         {"minimum": 1},                      {"minimum": 0},                      []),
    ("minimum-gone",            {"minimum": 1},                      {},                                  []),
    ("maximum-lowered",         {"maxLength": 9},                    {"maxLength": 8},                    [(("maxLength",), "payload: maxLength: 9 before, 8 now")]),  # noqa: E501  # one row a case
    ("maximum-raised",          {"maxLength": 8},                    {"maxLength": 9},                    []),
    ("maximum-gone",            {"maxLength": 8},                    {},                                  []),
    ("unique-now",              {},                                  {"uniqueItems": True},               [(("uniqueItems",), "payload: uniqueItems: none before, True now")]),  # noqa: E501  # one row a case
    ("unique-no-more",          {"uniqueItems": True},               {"uniqueItems": False},              []),
    ("zero-no-more",            {"allow_zero": True},                {},                                  [(("allow_zero",), "payload: allow_zero: True before, none now")]),  # noqa: E501  # one row a case
    ("zero-now",                {},                                  {"allow_zero": True},                []),
    ("pattern-changed",         {"pattern": "a"},                    {"pattern": "b"},                    [(("pattern",), "payload: pattern changed: whether it refuses more is not decided here")]),  # noqa: E501  # one row a case
    ("pattern-gone",            {"pattern": "a"},                    {},                                  []),
    ("any-of-changed",          {"anyOf": [True]},                   {"anyOf": [False]},                  [(("anyOf",), "payload: anyOf changed: whether it refuses more is not decided here")]),  # noqa: E501  # one row a case
    ("own-word",                {},                                  {"x-own": 1, "title": "t"},          []),
    ("required-more",           {"required": ["a"]},                 {"required": ["a", "b"]},            [(("required",), "payload: b is required now")]),  # noqa: E501  # one row a case
    ("closed-now",              {"properties": {"a": True}},         {"properties": {"a": True}, "additionalProperties": False}, [(("additionalProperties",), "payload: members that are not named are refused now")]),  # noqa: E501  # one row a case
    ("property-gone",           {"properties": {"a": True}, "additionalProperties": False}, {"additionalProperties": False}, [(("properties",), "payload: a is not known any more")]),  # noqa: E501  # one row a case
    ("property-matches-now",    {"properties": {"a": True}, "additionalProperties": False}, {"patternProperties": {"a": True}, "additionalProperties": False}, [(("patternProperties",), "payload: patternProperties changed: whether it refuses more is not decided here")]),  # noqa: E501  # one row a case
    ("pattern-properties-gone", {"patternProperties": {"a": True}},  {},                                  [(("patternProperties",), "payload: patternProperties changed: whether it refuses more is not decided here")]),  # noqa: E501  # one row a case
    ("property-more",           {"additionalProperties": False},     {"properties": {"a": {"type": "string"}}, "additionalProperties": False}, []),  # noqa: E501  # one row a case
    ("property-told-more-of",   {"properties": {"a": {"maxLength": 9}}}, {"properties": {"a": {"maxLength": 8}}}, [(("properties", "a", "maxLength"), "payload.a: maxLength: 9 before, 8 now")]),  # noqa: E501  # one row a case
    ("items-told-more-of",      {},                                  {"items": {"maxLength": 8}},         [(("items", "maxLength"), "payload[]: maxLength: none before, 8 now")]),  # noqa: E501  # one row a case
    ("others-told-more-of",     {"properties": {"a": True}},         {"additionalProperties": {"maxLength": 8}}, [(("additionalProperties", "maxLength"), f"payload.{name}: maxLength: none before, 8 now") for name in "*a"]),  # noqa: E501  # one row a case
    ("by-reference",            {"items": {"maxLength": 9}},         defining({"items": A}, a={"maxLength": 8}), [(("$defs", "a", "maxLength"), "payload[]: maxLength: 9 before, 8 now")]),  # noqa: E501  # one row a case
    ("what-is-referred-to",     defining({"items": A}, a={"maxLength": 9}), defining({"items": A}, a={"maxLength": 8}), [(("$defs", "a", "maxLength"), "payload[]: maxLength: 9 before, 8 now")]),  # noqa: E501  # one row a case
    ("reference-and-more",      {"items": {"maxLength": 9}},         defining({"items": {**A, "minLength": 1}}, a={"maxLength": 9}), [(("items", "minLength"), "payload[]: minLength: none before, 1 now")]),  # noqa: E501  # one row a case
    ("reference-beside-itself", defining({"items": {**A, "maxLength": 9}}, a={"maxLength": 9}), defining({"items": {**A, "maxLength": 9}}, a={"maxLength": 8}), [(("items", "$ref"), "payload[]: $ref changed: whether it refuses more is not decided here")]),  # noqa: E501  # one row a case
]
# fmt: on


@pytest.mark.parametrize(("old", "new", "faults"), [row[1:] for row in SCHEMAS], ids=[row[0] for row in SCHEMAS])
def test_what_a_schema_refuses_more_is_told(old, new, faults):
    assert list(narrowings(old, new)) == [(path, f"JSON Schema: {message}") for path, message in faults]


def test_a_reference_that_leads_back_to_itself_ends_the_comparison():
    endless = defining({"items": A}, a={"items": A})
    assert list(narrowings(endless, endless)) == []
    assert list(narrowings({}, defining(A, a=A))) != []


SHAPES = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", ["string", "null"], "object", "array"]),
            "enum": st.lists(st.sampled_from(["a", "bb", 1, 7]), min_size=1, max_size=3),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(0, 3),
            "maximum": st.integers(0, 9),
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
            "additionalProperties": st.booleans(),
            "uniqueItems": st.booleans(),
        },
    ),
    lambda inner: st.one_of(
        st.booleans(),
        st.fixed_dictionaries(
            {"properties": st.dictionaries(st.sampled_from(["a", "b"]), inner)},
            optional={"additionalProperties": st.booleans() | inner, "required": st.just(["a"])},
        ),
        st.fixed_dictionaries({"items": inner}),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from(["", "a", "bb", "cccc", 1, 7, 12, None, True]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b", "c"]), inner)),
    max_leaves=6,
)


@given(SHAPES, SHAPES, VALUES)
def test_where_nothing_is_told_whatever_passed_passes_still(old, new, value):
    if not list(narrowings(old, new)) and Draft202012Validator(old).is_valid(value):
        assert Draft202012Validator(new).is_valid(value)
