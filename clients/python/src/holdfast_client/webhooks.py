"""Whether a webhook comes from Holdfast, as Standard Webhooks says, and what it tells."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Protocol

from holdfast_client.codec import read
from holdfast_client.errors import InvalidWebhook
from holdfast_client.models import Event

TOLERANCE_S = 300
"""How old a message may be, so that one that was overheard cannot be sent again later; and how much clocks differ."""

KEY_BYTES = range(24, 65)
"""How long a key is, as Standard Webhooks says. An empty one would let anybody sign."""


class Headers(Protocol):
    """Headers as any framework has them: a dict, those of httpx, or `self.headers` of `http.server`."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names, in any spelling, and values."""


def verify_webhook(
    body: bytes | str,
    headers: Headers,
    secrets: str | Sequence[str],
    *,
    now: float | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> Event:
    """The event of a webhook; raises InvalidWebhook. `body` exactly as it came, before anything parses it.

    Several secrets are those of a rotation: one must fit. An event may come twice: pass over an `id` that you have had.
    A secret that is not set, or is none, is a ValueError: nothing could be believed.
    """
    keys = _keys(secrets)
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
    wanted = [_signature(one, signed) for one in keys]
    given = [one.removeprefix("v1,") for one in signatures.split() if one.startswith("v1,")]
    if not any(hmac.compare_digest(one.encode(), other) for one in given for other in wanted):
        raise InvalidWebhook("no signature fits")
    try:
        return read(Event, json.loads(content))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidWebhook(f"it tells no event: {error!r}") from error


def sign_webhook(
    body: bytes | str, secret: str, *, message_id: str = "evt_1", now: float | None = None
) -> dict[str, str]:
    """The headers that Holdfast would send with a body: for tests of a receiver."""
    sent_at = str(int(time.time() if now is None else now))
    signed = f"{message_id}.{sent_at}.".encode() + (body.encode() if isinstance(body, str) else body)
    signature = f"v1,{_signature(_key(secret), signed).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": sent_at, "webhook-signature": signature}


def _keys(secrets: str | Sequence[str] | None) -> list[bytes]:
    keys = [_key(one) for one in ([secrets] if secrets is None or isinstance(secrets, str) else secrets)]
    if not keys:
        raise ValueError("no secret is given")
    return keys


def _key(secret: str | None) -> bytes:
    if not secret:
        raise ValueError("the webhook's secret is empty: is its environment variable set?")
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) not in KEY_BYTES:
        raise ValueError("a webhook's secret is whsec_ and the base64 of 24 to 64 bytes")
    return key


def _signature(key: bytes, signed: bytes) -> bytes:
    return b64encode(hmac.digest(key, signed, "sha256"))
