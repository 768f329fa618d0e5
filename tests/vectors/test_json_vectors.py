"""JSONTestSuite: ``y_`` must parse, ``n_`` must be refused. Strings of the big list of naughty ones survive."""

import json

import pytest

from moneta.domain.errors import MalformedJSONError
from moneta.domain.ijson import parse
from tests.shared_vectors import VECTORS, vectors_required

pytestmark = vectors_required

SUITE = VECTORS / "jsontestsuite"
ACCEPTED = sorted(path.name for path in SUITE.glob("y_*.json"))
MALFORMED = sorted(path.name for path in SUITE.glob("n_*.json"))
REFUSED_BY_I_JSON = {
    "y_object_duplicated_key.json": "duplicate name",
    "y_object_duplicated_key_and_value.json": "duplicate name",
}


@pytest.mark.parametrize("name", [name for name in ACCEPTED if name not in REFUSED_BY_I_JSON])
def test_what_json_allows_is_read(name):
    raw = (SUITE / name).read_bytes()
    value = parse(raw, what="vector")
    assert json.dumps(value, default=lambda number: float(number.digits)) == json.dumps(
        json.loads(raw, parse_int=lambda digits: float(digits) if digits == "-0" else int(digits))
    )


@pytest.mark.parametrize("name", REFUSED_BY_I_JSON)
def test_what_only_i_json_refuses_is_named(name):
    assert name in ACCEPTED
    with pytest.raises(MalformedJSONError, match=REFUSED_BY_I_JSON[name]):
        parse((SUITE / name).read_bytes(), what="vector")


@pytest.mark.parametrize("name", MALFORMED)
def test_what_json_does_not_allow_is_refused(name):
    with pytest.raises(MalformedJSONError):
        parse((SUITE / name).read_bytes(), what="vector")


def test_the_suite_is_whole():
    assert (len(ACCEPTED), len(MALFORMED)) == (95, 188)


@pytest.mark.parametrize("ensure_ascii", [True, False], ids=["escaped", "raw"])
def test_naughty_strings_survive(ensure_ascii):
    strings = json.loads((VECTORS / "blns" / "blns-half.json").read_bytes())
    assert len(strings) > 200
    document = {"values": strings, "names": {text: index for index, text in enumerate(strings)}}
    raw = json.dumps(document, ensure_ascii=ensure_ascii).encode()
    assert parse(raw, what="vector") == document
