"""The hub as AWS Lambda functions: one module each, with ``handle`` (given its ports) and ``handler`` (Lambda's).

The rules:

1. ``handle`` is the function: what it does with an event is decided in the use cases; here it is read and answered.
2. Functions of the spine import no web framework, and nothing that they do not need at their first call.
3. What can be lost with the process is made in ``warm``; what must not be lost is in the store or in a queue.
4. A message is done only when what it causes is durable. Whatever else becomes of a call, the message stays.
"""

import os

from moneta.entrypoints.logs import spare_rich

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:  # elsewhere this process may have a use for rich
    spare_rich()
