"""Standard Webhooks: the three headers that sign a message, and how a receiver checks them.

https://www.standardwebhooks.com: HMAC-SHA256 over ``id.timestamp.body``; during a rotation one entry for each secret.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

from moneta.domain.errors import InvalidFieldError, InvalidSignatureError
from moneta.domain.identifiers import UnixSeconds, WebhookId, is_chosen_id
from moneta.domain.limits import (
    SECRET_BYTES_MIN,
    WEBHOOK_AGE_S_MAX,
    WEBHOOK_SIGNATURE_CHARS_MAX,
    WEBHOOK_SIGNATURES_MAX,
)

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # it says what follows, and is no secret
SECRET_BYTES: Final = 32
_TIMESTAMP: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


def format_secret(raw: bytes) -> str:
    """Return a secret as partners hold it: ``whsec_`` and standard padded base64."""
    return SECRET_PREFIX + base64.b64encode(raw).decode("ascii")


def parse_secret(text: str) -> bytes:
    """Return the bytes of a secret.

    Raises:
        InvalidFieldError: Not ``whsec_`` and base64 of at least 24 bytes. The secret is not in the message.
    """
    try:
        raw = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidFieldError("webhook secret: not base64") from error
    if not text.startswith(SECRET_PREFIX) or len(raw) < SECRET_BYTES_MIN:
        raise InvalidFieldError(f"webhook secret: expected {SECRET_PREFIX} and at least {SECRET_BYTES_MIN} bytes")
    return raw


def sign(secrets: Sequence[bytes], *, webhook_id: WebhookId, timestamp: UnixSeconds, body: bytes) -> Mapping[str, str]:
    """Return the three headers for ``body``, signed with each of ``secrets``."""
    message = _signed_bytes(webhook_id, timestamp, body)
    entries = [f"v1,{_mac(secret, message)}" for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(entries),
    }


def verify(secret: bytes, headers: Mapping[str, str], body: bytes, *, now: UnixSeconds) -> WebhookId:
    """Return the message's id if one of its signatures is ``secret``'s and it was sent within 300 s of ``now``.

    ``headers``: names in lower case.

    Raises:
        InvalidSignatureError: A header is missing or malformed, the time is off, or no signature is ours.
    """
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    # A dot in the id would blur where it ends in what is signed.
    if not is_chosen_id(webhook_id) or "." in webhook_id or _TIMESTAMP.fullmatch(timestamp) is None:
        raise InvalidSignatureError("webhook headers are missing or malformed", field="webhook-id")
    sent_at = int(timestamp)
    if abs(now - sent_at) > WEBHOOK_AGE_S_MAX:
        raise InvalidSignatureError(f"webhook-timestamp is not within {WEBHOOK_AGE_S_MAX} s", field="webhook-timestamp")
    expected = f"v1,{_mac(secret, _signed_bytes(webhook_id, sent_at, body))}".encode("ascii")
    # The reference implementation walks any number of entries; here it ends.
    entries = headers.get("webhook-signature", "")[:WEBHOOK_SIGNATURE_CHARS_MAX].split(" ")[:WEBHOOK_SIGNATURES_MAX]
    matches = [hmac.compare_digest(expected, entry.encode("utf-8", "replace")) for entry in entries]
    if not any(matches):
        raise InvalidSignatureError("webhook-signature: none is by our secret", field="webhook-signature")
    return WebhookId(webhook_id)


def _signed_bytes(webhook_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{webhook_id}.{timestamp}.".encode("ascii") + body


def _mac(secret: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(secret, message, "sha256")).decode("ascii")
