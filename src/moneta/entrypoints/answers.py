"""What goes back to the client: an answer, a problem document, and the headers that every answer carries."""

from dataclasses import dataclass
from typing import Final

import msgspec

from moneta.application.problems import http_status, problem_document
from moneta.domain.errors import Refused, TooLargeError, UnauthorizedError

AnswerHeaders = tuple[tuple[bytes, bytes], ...]

RETRY_AFTER_S: Final = 1
"""What ``Retry-After`` says where nothing tells how long it will last."""

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"

NOT_MODIFIED: Final = 304

# Answers are for one caller and for no browser: nothing may be cached, sniffed, framed or run.
UNCACHED: Final[AnswerHeaders] = ((b"cache-control", b"no-store"),)
STANDING_HEADERS: Final[AnswerHeaders] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, whole. ``headers``: those beyond the standing ones, the type and the length.

    ``caching``: whether, and for how long, it may be kept.
    """

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: AnswerHeaders = ()
    caching: AnswerHeaders = UNCACHED

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Return every header of the answer, names in lower case."""
        length = str(len(self.body)).encode("ascii")
        # RFC 9110, section 8.6: the length of a 304 would have to be that of the answer which it stands for.
        lengths = () if self.status == NOT_MODIFIED else ((b"content-length", length),)
        return [(b"content-type", self.media_type), *lengths, *self.caching, *STANDING_HEADERS, *self.headers]


def problem_answer(error: Refused, *, headers: AnswerHeaders = ()) -> Answer:
    """Return the problem document of ``error`` as an answer, with the headers that its status asks for."""
    return Answer(
        status=http_status(error),
        body=msgspec.json.encode(problem_document(error)),
        media_type=PROBLEM,
        headers=(*headers, *_problem_headers(error)),
    )


def _problem_headers(error: Refused) -> AnswerHeaders:
    if isinstance(error, UnauthorizedError):
        return ((b"www-authenticate", b"Bearer"),)
    if isinstance(error, TooLargeError):
        return ((b"connection", b"close"),)  # the rest of the body is not read
    retry_after_s = error.facts.get("retry_after_s")
    return () if retry_after_s is None else ((b"retry-after", str(retry_after_s).encode("ascii")),)
