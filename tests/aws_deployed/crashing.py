"""The processor, dying where a test wants it to. Only the tests' artifact has this module.

A process of Lambda's may die between any two instructions; it gets no signal that it could handle.
"""

import os
import signal
import tempfile
from pathlib import Path

from moneta.entrypoints.aws_lambda import processor

STORED = Path(tempfile.gettempdir()) / "died-after-the-store"


def after_the_store(event, context):
    """Do all of the processor's work, and die before Lambda hears of it, once."""
    answer = processor.handler(event, context)
    if not STORED.exists():
        STORED.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return answer


def of_poison(event, context):
    """Die of every batch with a certain contract in it, as of one that takes too much memory."""
    if any("poison" in record["body"] for record in event["Records"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return processor.handler(event, context)
