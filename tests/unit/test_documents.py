"""Documents: exact numbers on the way out, one text per value where it is hashed, strict members on the way in."""

import json
from types import MappingProxyType

import pytest

from moneta.application import documents
from moneta.application.documents import to_json
from moneta.domain.errors import (
    InvalidFieldError,
    InvalidParameterError,
    MissingFieldError,
    PreconditionFailedError,
)
from moneta.domain.identifiers import UnixMillis
from moneta.domain.ijson import NumberText, parse


@pytest.mark.parametrize("digits", ["100.00", "1e5", "-0", "0.10000000000000000000001", "1E+2"])
def test_a_number_goes_out_with_the_digits_it_came_with(digits):
    raw = to_json({"number": NumberText(digits), "list": [NumberText(digits)]})
    assert raw == f'{{"number":{digits},"list":[{digits}]}}'.encode()
    assert parse(raw, what="answer")["number"] == NumberText(digits)


def test_any_mapping_and_sequence_goes_out_as_json():
    assert to_json(MappingProxyType({"a": (1, "é", None, True)})) == '{"a":[1,"é",null,true]}'.encode()


def test_sorted_json_does_not_depend_on_the_order_of_members():
    one, other = {"b": 1, "a": {"d": [1, 2], "c": 2}}, {"a": {"c": 2, "d": [1, 2]}, "b": 1}
    assert to_json(one, is_sorted=True) == to_json(other, is_sorted=True)
    assert to_json(one) != to_json(other)
    assert to_json({"a": [2, 1]}, is_sorted=True) != to_json({"a": [1, 2]}, is_sorted=True)
    assert json.loads(to_json(one, is_sorted=True)) == one


def test_times_are_whole_seconds():
    assert documents.seconds(UnixMillis(1999)) == 1
    assert documents.seconds(None) is None


def test_if_match_is_any_revision_or_the_one_there_is():
    documents.check_if_match(None, 3)
    documents.check_if_match(3, 3)
    with pytest.raises(PreconditionFailedError):
        documents.check_if_match(2, 3)


@pytest.mark.parametrize("value", [True, 1.5, "1", -1, 2**53, NumberText("1.0"), [], {}])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(InvalidFieldError):
        documents.whole_number({"n": value}, "n")


@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\x7fb", "a\x85b", "x" * 201, 1, True, [], NumberText("1.0")])
def test_what_is_no_short_text_is_refused(value):
    with pytest.raises(InvalidFieldError):
        documents.text({"t": value}, "t")


@pytest.mark.parametrize("value", ["a", " a ", "Zoë & Söhne — 株式会社", "x" * 200, "می‌خواهم"])
def test_names_of_all_languages_are_texts(value):
    assert documents.text({"t": value}, "t") == value


def test_a_limit_is_one_to_two_hundred():
    assert documents.list_limit({}) == 50
    assert [documents.list_limit({"limit": text}) for text in ("1", "200")] == [1, 200]
    for text in ("0", "201", "1000", "-1", "+1", " 1", "1 ", "1e2", "٣", ""):
        with pytest.raises(InvalidParameterError):
            documents.list_limit({"limit": text})


def test_a_cursor_is_handed_through_within_its_size():
    assert documents.list_cursor({}) is None
    assert documents.list_cursor({"cursor": "abc"}) == "abc"
    for text in ("", "x" * 513):
        with pytest.raises(InvalidParameterError):
            documents.list_cursor({"cursor": text})


def test_a_member_that_is_null_counts_as_one_that_is_missing():
    for members in ({}, {"x": None}):
        assert not documents.has(members, "x")
        assert documents.optional_text(members, "x") is None
        assert documents.mapping(members, "x") == {}
        assert documents.items(members, "x") == ()
        assert documents.texts(members, "x") == ()
        with pytest.raises(MissingFieldError):
            documents.required(members, "x")
