"""Whether a webhook comes from Holdfast, as Standard Webhooks says, and what it tells."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence

from holdfast_client.codec import read
from holdfast_client.errors import InvalidWebhook
from holdfast_client.models import Event

TOLERANCE_S = 300
"""How old a message may be, so that one that was overheard cannot be sent again later; and how much clocks differ."""


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    now: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> Event:
    """The event of a webhook; raises InvalidWebhook. `body` exactly as it came, before anything parses it.

    Several secrets are those of a rotation: one must fit. An event may come twice: pass over an `id` that you have had.
    """
    content = body.encode() if isinstance(body, str) else body
    told = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at, signatures = (told[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        age_s = (time.time() if now is None else now) - int(sent_at)
    except (KeyError, ValueError):
        raise InvalidWebhook("the headers webhook-id, webhook-timestamp and webhook-signature are needed") from None
    if abs(age_s) > tolerance_s:
        raise InvalidWebhook(f"it was sent {age_s:.0f} seconds ago")
    signed = f"{message_id}.{sent_at}.".encode() + content
    wanted = [_signature(one, signed) for one in ([secrets] if isinstance(secrets, str) else secrets)]
    given = [one.removeprefix("v1,") for one in signatures.split() if one.startswith("v1,")]
    if not any(hmac.compare_digest(one.encode(), other) for one in given for other in wanted):
        raise InvalidWebhook("no signature fits")
    try:
        return read(Event, json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidWebhook(f"it tells no event: {error!r}") from error


def _signature(secret: str, signed: bytes) -> bytes:
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except NotBase64:
        raise ValueError("a secret is whsec_ and base64") from None
    return b64encode(hmac.digest(key, signed, "sha256"))
