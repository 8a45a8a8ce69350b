"""Fingerprints: what makes two payments the same, and which field makes them differ."""

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import blake2b
from json import dumps
from zlib import crc32

from app.domain.payments import Intent, PaymentRequest
from app.domain.refusals import Refusal, RefusalCode
from app.domain.splits import Destination

FINGERPRINT_LENGTH = 36
"""Characters: 9 bytes of digest and 9 × 2 bytes of field checks, in base64 without padding."""

_pack_checks = struct.Struct(">9H").pack

_FIELDS = (
    "source_account_id",
    "destination_account_id",
    "amount_minor",
    "currency_code",
    "description",
    "effective_at",
    "metadata",
    "capture",
    "destinations",
)


def fingerprint(request: PaymentRequest) -> str:
    """A digest of a payment's content that can also tell which field differs.

    The first 9 bytes decide equality; the checks behind them only name the field. `expected_version` is a
    precondition and not content: a retry may carry a newer one.
    """
    values = (
        request.source_account_id,
        request.destination_account_id or "",
        str(request.amount_minor),
        request.currency_code,
        request.description or "",
        request.effective_at.isoformat() if request.effective_at else "",
        dumps(request.metadata, sort_keys=True, separators=(",", ":")) if request.metadata else "",
        f"manual {request.expires_in_s}" if request.manual_capture else "",
        _split_text(request.destinations) if request.destinations else "",
    )
    return digest_of(values)


def digest_of(values: Sequence[str]) -> str:
    """The fingerprint of a request's nine fields, as text."""
    encoded = [value.encode() if value else b"" for value in values]
    digest = blake2b(b"\x00".join(encoded), digest_size=9).digest()
    checks = _pack_checks(*[crc32(value) & 0xFFFF if value else 0 for value in encoded])
    return b2a_base64(digest + checks, newline=False).decode()


def _split_text(destinations: Sequence[Destination]) -> str:
    return dumps([[one.account_id, one.amount_minor, one.share, one.remainder] for one in destinations])


def differing_field(ours: str, theirs: str, names: Sequence[str] = _FIELDS) -> str:
    """The name of the first field in which two fingerprints differ; `names` are those of our request's fields."""
    for index, name in enumerate(names):
        # Two bytes of check do not align with base64's three, so compare the decoded form.
        if _check(ours, index) != _check(theirs, index):
            return name
    return "content"


def _check(text: str, index: int) -> bytes:
    start = 9 + 2 * index
    return a2b_base64(text)[start : start + 2]


def refuse_reused(intent: Intent, first_fingerprint: str) -> Refusal:
    """The refusal of an external id that belongs to another payment; names the field that differs."""
    name = differing_field(intent.fingerprint, first_fingerprint)
    return Refusal(
        RefusalCode.EXTERNAL_ID_REUSED,
        f"external_id {intent.external_id!r} was used before for another payment: {name} differs. Nothing was moved.",
        {"field": name, "external_id": intent.external_id},
    )
