"""How the conductor and its partners talk: one JSON object a line, over the partner's standard input and output."""

from collections.abc import Mapping
from typing import IO, Any

import msgspec

Line = Mapping[str, Any]  # The members are the demo's own; each reader takes what it knows.


def write_line(file: IO[bytes], **members: object) -> None:
    """Write one line, at once."""
    file.write(msgspec.json.encode(members) + b"\n")
    file.flush()


def read_line(file: IO[bytes]) -> Line | None:
    """Return the next line; None when the other side is gone."""
    line = file.readline()
    if not line.endswith(b"\n"):
        return None
    members: Line = msgspec.json.decode(line)
    return members
