"""What the receiver tells the load generator: a webhook came, for which contract, of which kind, and when.

Times are nanoseconds of CLOCK_MONOTONIC, which all processes of one Linux machine share.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

SIGHTING: Final = Struct("<BBIq")
"""Section, kind, index, nanoseconds."""


class Kind(IntEnum):
    """What came, and to whom."""

    REQUESTED = 0
    FINALIZED_MO = 1
    FINALIZED_PUBLISHER = 2
    OTHER = 3
