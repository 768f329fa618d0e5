"""What a request says, read strictly: token, content type, conditions and query.

Litestar's own readers are lenient where the protocol is not: they clamp, they coerce, they keep the last of two.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from moneta.domain.errors import (
    InvalidParameterError,
    MalformedRequestError,
    UnsupportedMediaTypeError,
)
from moneta.domain.limits import (
    IDEMPOTENCY_KEY_CHARS_MAX,
    QUERY_FIELDS_MAX,
)

Headers = Iterable[tuple[bytes, bytes]]

JSON_TYPES: Final = ("application/json",)
EVENT_TYPES: Final = ("application/cloudevents+json", "application/json")
YAML_TYPES: Final = ("application/yaml",)

NO_REVISION: Final = 0
"""The revision that nothing has: for an ``If-Match`` that can't be right."""

_ENTITY_TAG: Final = re.compile(rb'(W/)?"([\x21\x23-\x7e]*)"')
_REVISION: Final = re.compile(rb"[1-9][0-9]{0,15}")
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the one value of ``name``, in lower case; None without it, or if it comes twice and so says nothing."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def condition(headers: Headers, name: bytes) -> bytes | None:
    """Return the one value of a header that changes what the request does; None without it.

    Raises:
        MalformedRequestError: It comes twice: to ignore it would do what the client wanted to prevent.
    """
    if sum(key == name for key, _ in headers) > 1:
        shown = name.decode("ascii")
        raise MalformedRequestError(f"{shown}: expected it once", header=shown)
    return header(headers, name)


def bearer_token(headers: Headers) -> str | None:
    """Return the token of ``Authorization: Bearer``; None if there is none. RFC 6750, section 2.1."""
    scheme, _, token = (header(headers, b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.isascii():
        return None
    return token.strip(b" ").decode("ascii")


def check_content_type(headers: Headers, allowed: Sequence[str]) -> None:
    """Return if the body is one of ``allowed``, in UTF-8, and not compressed.

    Raises:
        UnsupportedMediaTypeError: It is something else, or it doesn't say.
    """
    encoding = header(headers, b"content-encoding")
    if encoding is not None and encoding.strip().lower() != b"identity":
        raise UnsupportedMediaTypeError("Content-Encoding: expected none", expected="identity")
    media_type, _, parameters = (header(headers, b"content-type") or b"").decode("latin-1").partition(";")
    if media_type.strip().lower() not in allowed or _charset(parameters) not in _CHARSETS:
        raise UnsupportedMediaTypeError(f"Content-Type: expected {' or '.join(allowed)}", expected=list(allowed))


def _charset(parameters: str) -> str:
    pairs = [parameter.partition("=") for parameter in parameters.split(";")]
    named = [value.strip().strip('"').lower() for name, _, value in pairs if name.strip().lower() == "charset"]
    return named[0] if named else "utf-8"


def if_match(headers: Headers) -> int | None:
    """Return the revision that ``If-Match`` asks for; None without it or for ``*``. RFC 9110, section 13.1.1.

    A tag that is none of ours, or weak, names no revision: ``NO_REVISION``.

    Raises:
        MalformedRequestError: It is not one entity tag, or comes twice.
    """
    value = condition(headers, b"if-match")
    if value is None or value == b"*":
        return None
    tag = _ENTITY_TAG.fullmatch(value)
    if tag is None:
        raise MalformedRequestError('If-Match: expected one entity tag, as in ETag: "3"', header="If-Match")
    is_ours = tag[1] is None and _REVISION.fullmatch(tag[2]) is not None
    return int(tag[2]) if is_ours else NO_REVISION


def has_already(headers: Headers, tag: bytes) -> bool:
    """Tell whether the caller has what ``tag`` names already, by ``If-None-Match``. RFC 9110, section 13.1.2."""
    listed = b",".join(value for name, value in headers if name == b"if-none-match")
    return listed.strip() == b"*" or tag in {one.strip().removeprefix(b"W/") for one in listed.split(b",")}


def idempotency_key(headers: Headers) -> str | None:
    """Return ``Idempotency-Key``; None without it.

    Raises:
        MalformedRequestError: It is empty, too long, not visible ASCII, or comes twice.
    """
    value = condition(headers, b"idempotency-key")
    if value is None:
        return None
    if not 1 <= len(value) <= IDEMPOTENCY_KEY_CHARS_MAX or _VISIBLE.fullmatch(value) is None:
        raise MalformedRequestError(
            f"Idempotency-Key: expected 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters",
            header="Idempotency-Key",
        )
    return value.decode("ascii")


def query_parameters(query: bytes, known: Iterable[str]) -> Mapping[str, str]:
    """Return the query's parameters, all of them known, each once.

    Raises:
        InvalidParameterError: One is unknown or doubled, or the query is not percent-encoded UTF-8.
    """
    try:
        text = query.decode("ascii")
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError as error:
        raise InvalidParameterError("query: expected name=value pairs in percent-encoded UTF-8") from error
    names = [name for name, _ in pairs]
    allowed = frozenset(known)
    for name in names:
        if name not in allowed:
            raise InvalidParameterError(f"query: unknown parameter {name[:64]!r}", allowed=sorted(allowed))
        if names.count(name) > 1:
            raise InvalidParameterError(f"query: {name} comes twice", field=name)
    return dict(pairs)
