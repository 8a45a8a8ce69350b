"""The text of an intent in the outbox: a list of values, without the names of its fields.

The names were two thirds of it, and it is written three times: into the outbox, the append-only file and the network.
"""

from datetime import datetime
from typing import Any

import msgspec

from app.domain.payment import Intent, Leg

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode

_USUAL = ("payment", None, None, None, None, None, None, False)
"""What a plain payment has behind its first eight fields; it is left out."""

_LEGS, _EFFECTIVE_AT = 6, 10
"""Where the fields stand that JSON has no type for."""


def encode_intent(intent: Intent) -> bytes:
    """The fields in the order of `Intent`, the legs as one flat list of account and amount in minor units."""
    legs: list[str | int] = []
    for leg in intent.legs:
        legs += (leg.account_id, leg.amount_minor)
    first = (
        intent.entity_id,
        intent.external_id,
        intent.fingerprint,
        intent.guarded_account_id,
        intent.hold_minor,
        intent.currency_code,
        legs,
        intent.actor,
    )
    others = (
        intent.kind,
        intent.description,
        intent.effective_at,
        intent.metadata,
        intent.expires_in_s,
        intent.payment_id,
        intent.linked,
        intent.awaited,
    )
    return _encode(first if others == _USUAL else first + others)


def decode_intent(text: str) -> Intent:
    """The intent again."""
    values = _decode(text)
    legs = values[_LEGS]
    values[_LEGS] = list(map(Leg, legs[::2], legs[1::2]))
    if len(values) > _EFFECTIVE_AT and values[_EFFECTIVE_AT] is not None:
        values[_EFFECTIVE_AT] = msgspec.convert(values[_EFFECTIVE_AT], datetime)
    return Intent(*values)
