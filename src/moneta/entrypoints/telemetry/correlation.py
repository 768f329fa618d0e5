"""One id by which everything about a contract is found, in every process, in logs and in traces.

It derives from the contract's own id, so nothing has to be stored or handed on for it, and what is logged of a contract
a month later still carries it. It tells nothing that the contract's id doesn't.
"""

import hashlib
from functools import lru_cache
from typing import Final

TRACE_ID_BYTES: Final = 16
_TRACE: Final = b"moneta trace\x00"


@lru_cache(maxsize=1_024)
def trace_id_of(contract_id: str) -> str:
    """Return the contract's trace id in hexadecimal, as W3C Trace Context and OpenTelemetry write it."""
    return hashlib.sha256(_TRACE + contract_id.encode("utf-8")).hexdigest()[: 2 * TRACE_ID_BYTES]
