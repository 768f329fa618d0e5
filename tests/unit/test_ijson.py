import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moneta.domain.errors import MalformedJSONError
from moneta.domain.ijson import NumberText, parse, parse_object, type_name
from moneta.domain.limits import EVENT_BYTES_MAX, JSON_DEPTH_MAX, JSON_INTEGER_MAX


def read(text):
    return parse(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), what="test")


def nested(depth, *, opening="[", closing="]"):
    return opening * depth + closing * depth


READ = {
    "null": ("null", None),
    "true": ("true", True),
    "an empty object": ("{}", {}),
    "white space around": (" \t\r\n[ 1 , 2 ]\n", [1, 2]),
    "the largest integer": (str(2**53 - 1), 2**53 - 1),
    "the smallest integer": (str(-(2**53) + 1), -(2**53) + 1),
    "a decimal keeps its digits": ("100.00", NumberText("100.00")),
    "more digits than a float holds": ("0.1000000000000000055511151231257827", None),
    "an exponent keeps its form": ("1e3", NumberText("1e3")),
    "an exponent that no float reaches": ("1E400", NumberText("1E400")),
    "minus nought keeps its sign": ("-0", NumberText("-0")),
    "a million digits after the point": ("0." + "1" * 100_000, None),
    "an escaped pair of surrogates": (r'"\ud83d\ude00"', "\U0001f600"),
    "a pair of surrogates in a name": (r'{"\uD83D\uDE00": 1}', {"\U0001f600": 1}),
    "a backslash before u, escaped": (r'"\\ud800"', "\\ud800"),
    "escapes": (r'"\"\\\/\b\f\n\r\t\u0000"', '"\\/\b\f\n\r\t\0'),
    "a separator of lines": ('"\u2028"', "\u2028"),
    "a code point that is no character": ('"\uffff\ufdd0"', "\uffff\ufdd0"),
    "the deepest array": (nested(JSON_DEPTH_MAX), None),
    "the deepest object": (nested(JSON_DEPTH_MAX, opening='{"a":', closing="}").replace(":}", ":1}", 1), None),
    "the same name at two depths": ('{"a": {"a": 1}}', {"a": {"a": 1}}),
    "names that differ in composition": ('{"\u00e9": 1, "e\u0301": 2}', {"\u00e9": 1, "e\u0301": 2}),
}


@pytest.mark.parametrize("case", READ)
def test_what_is_i_json_is_read(case):
    text, expected = READ[case]
    value = read(text)
    if isinstance(value, NumberText):
        assert value.digits == text
    if expected is not None:
        assert value == expected
        assert type(value) is type(expected)


REFUSED = {
    "nothing": b"",
    "white space": b"  \n",
    "two documents": b"{} {}",
    "a trailing comma": b"[1,]",
    "a comment": b"/* */ {}",
    "a single quote": b"{'a': 1}",
    "a control character in a string": b'"\n"',
    "a leading nought": b"01",
    "a bare point": b"1.",
    "a plus sign": b"+1",
    "an underscore": b"1_000",
    "digits of another script": "\u0661".encode(),
    "a space of another script": "\u00a01".encode(),
    "NaN": b"NaN",
    "Infinity": b"[Infinity]",
    "minus Infinity": b'{"a": -Infinity}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16 with its mark": '{"a": 1}'.encode("utf-16"),
    "UTF-16, little end first": '{"a": 1}'.encode("utf-16-le"),
    "UTF-16, big end first": '{"a": 1}'.encode("utf-16-be"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "an overlong encoding": b'"\xc0\xaf"',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "a truncated character": b'"\xe2\x82"',
    "a code point beyond Unicode": b'"\xf5\x80\x80\x80"',
    "an integer too large": str(2**53).encode(),
    "an integer too small": str(-(2**53)).encode(),
    "an integer of seventeen digits": b"12345678901234567",
    "an integer of 100,000 digits": b"9" * 100_000,
    "a duplicate name": b'{"a": 1, "a": 1}',
    "a duplicate name with another value between": b'{"a": 1, "b": 2, "a": 3}',
    "a duplicate name, escaped": rb'{"a": 1, "\u0061": 2}',
    "a duplicate name, escaped otherwise": rb'{"/": 1, "\/": 2}',
    "a duplicate name at depth": b'[{"x": {"y": [{"a": 1, "a": 2}]}}]',
    "a duplicate empty name": b'{"": 1, "": 2}',
    "a surrogate alone": rb'"\ud800"',
    "a low surrogate alone": rb'"\udfff"',
    "surrogates in the wrong order": rb'"\ude00\ud83d"',
    "a surrogate alone in a name": rb'{"\uDBFF": 1}',
    "a surrogate alone at depth": rb'{"a": [[{"b": "x\ud800x"}]]}',
    "a surrogate alone after a pair": rb'["\ud83d\ude00", "\ud83d"]',
    "an array too deep": nested(JSON_DEPTH_MAX + 1).encode(),
    "an object too deep": (b'{"a":' * (JSON_DEPTH_MAX + 1)) + b"1" + b"}" * (JSON_DEPTH_MAX + 1),
    "depth in a later member": f'{{"a": 1, "b": {nested(JSON_DEPTH_MAX)}}}'.encode(),
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets, closed": nested(100_000).encode(),
    "100,000 objects": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_i_json_is_refused(case):
    with pytest.raises(MalformedJSONError, match=r"^test: "):
        read(REFUSED[case])


def test_the_error_says_where_and_names_the_document():
    with pytest.raises(MalformedJSONError) as refusal:
        parse(b'{"a": }', what="event")
    assert refusal.value.detail == "event: not JSON: Expecting value at character 6"


def test_a_depth_of_its_own_can_be_set():
    assert parse(b"[[1]]", what="test", depth_max=2) == [[1]]
    with pytest.raises(MalformedJSONError, match="nested deeper than 1"):
        parse(b"[[1]]", what="test", depth_max=1)


def test_a_duplicate_among_thirty_thousand_names_is_named_without_counting_each():
    names = [f"{number:x}" for number in range(30_000)]
    raw = ("{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}").encode()
    assert len(raw) < 2 * EVENT_BYTES_MAX
    with pytest.raises(MalformedJSONError, match="duplicate name '752f'"):
        parse(raw, what="test")


def test_a_long_duplicate_name_is_cut_short_in_the_error():
    name = "n" * 1_000
    with pytest.raises(MalformedJSONError) as refusal:
        parse(f'{{"{name}":1,"{name}":2}}'.encode(), what="test")
    assert len(refusal.value.detail) < 100


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"a"', b"null", b"true", b"1.5"])
def test_an_object_is_asked_for_by_name(raw):
    with pytest.raises(MalformedJSONError, match="expected a JSON object"):
        parse_object(raw, what="test")


def test_an_object_is_given_as_an_object():
    assert parse_object(b'{"a": [null]}', what="test") == {"a": [None]}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        ({}, "object"),
        ([], "array"),
        ("", "string"),
        (True, "boolean"),
        (0, "integer"),
        (NumberText("1.0"), "number"),
    ],
)
def test_types_have_json_names(value, name):
    assert type_name(value) == name


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-JSON_INTEGER_MAX, JSON_INTEGER_MAX)
documents = st.recursive(
    st.none() | st.booleans() | integers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def depth_of(value):
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


@given(documents.filter(lambda value: depth_of(value) <= JSON_DEPTH_MAX), st.booleans(), st.sampled_from([None, 2]))
def test_whatever_is_within_the_limits_is_read_as_it_was_written(document, ensure_ascii, indent):
    raw = json.dumps(document, ensure_ascii=ensure_ascii, indent=indent).encode()
    value = parse(raw, what="test")
    assert value == document
    assert json.dumps(value) == json.dumps(document)  # tells True from 1


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_the_digits_that_were_written(number):
    text = repr(number)
    value = read(text)
    assert value == NumberText(text)
    assert math.isclose(float(value.digits), number)


def reference(raw):
    return json.loads(
        raw, parse_float=NumberText, parse_int=lambda digits: NumberText(digits) if digits == "-0" else int(digits)
    )


@given(st.text('[]{}:,"\\ud8001-.eE \n', max_size=24))
def test_any_text_is_refused_or_read_as_others_read_it(text):
    try:
        value = read(text)
    except MalformedJSONError:
        return
    assert value == reference(text)
