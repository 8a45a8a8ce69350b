"""The texts of the cache: intents in the outbox, and the funds, records and decisions of the scripts in `lua/`.

An intent is a list of values without field names. The names were two thirds of the text, which is written three times:
to the outbox, the append-only file and the network.
"""

from datetime import datetime
from typing import Any

import msgspec

from app.domain.authorizations import AuthorizationState
from app.domain.payment import Intent, Leg, parse_payment_id
from app.domain.payment_checks import FINGERPRINT_LENGTH
from app.domain.reservations import Conclusion, Decision, Funds, Record, RecordState, ReserveCode
from app.domain.timestamps import from_milliseconds

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Any]).decode

_USUAL = ("payment", None, None, None, None, None, None, False)
"""The values of a plain payment after its first eight fields; they are left out."""

_LEGS, _EFFECTIVE_AT, _FORMER_FINGERPRINTS = 6, 10, 16
"""Indexes of the fields that JSON has no type for."""

_PLAIN = 9
"""The length of a plain payment with its origin, which follows its first eight fields."""


def encode_intent(intent: Intent) -> bytes:
    """An intent as text: its fields in their order, the legs as one flat list of accounts and amounts (minor units)."""
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
    origin = intent.origin
    if intent.former_fingerprints or (origin is not None and others != _USUAL):
        further = () if origin is None else (origin,)
        return _encode((*first, *others, intent.former_fingerprints, *further))
    if others != _USUAL:
        return _encode(first + others)
    return _encode(first if origin is None else (*first, origin))


def decode_intent(text: str) -> Intent:
    """The intent in a text of `encode_intent`."""
    values = _decode(text)
    legs = values[_LEGS]
    values[_LEGS] = list(map(Leg, legs[::2], legs[1::2]))
    if len(values) == _PLAIN:
        intent = Intent(*values[:-1])
        intent.origin = values[-1]
        return intent
    if len(values) > _EFFECTIVE_AT and values[_EFFECTIVE_AT] is not None:
        values[_EFFECTIVE_AT] = msgspec.convert(values[_EFFECTIVE_AT], datetime)
    if len(values) > _FORMER_FINGERPRINTS:
        values[_FORMER_FINGERPRINTS] = tuple(values[_FORMER_FINGERPRINTS])
    return Intent(*values)


def parse_conclusion(text: str) -> Conclusion:
    """How an authorization ended: `state|captured|stream id`."""
    state, captured, stream_id = text.split("|")
    return Conclusion(AuthorizationState(state), int(captured), stream_id)


def parse_floor(text: str) -> int | None:
    """A floor in minor units; the empty text is no floor."""
    return int(text) if text else None


def parse_funds(text: str) -> Funds:
    """An account's funds: `version|balance|held|floor|changed at`."""
    version, balance, held, floor, _ = text.split("|")
    return Funds(int(balance), int(held), parse_floor(floor), int(version))


def parse_changed_at(text: str) -> datetime:
    """When the funds of the same text last changed: its last part is a time in ms since 1970, or a stream id."""
    return from_milliseconds(int(text.rpartition("|")[2].partition("-")[0]))


def parse_record(text: str) -> Record:
    """An idempotency record; `lua/reserve.lua` lists its forms."""
    fingerprint, state = text[:FINGERPRINT_LENGTH], RecordState(text[FINGERPRINT_LENGTH])
    rest = text[FINGERPRINT_LENGTH + 1 :]
    if state is RecordState.ACCEPTED:
        return Record(fingerprint, state, *_parse_accepted(rest))
    if state is RecordState.REFUSED:
        return Record(fingerprint, state, funds=parse_funds(rest))
    if state is RecordState.DUPLICATE:
        original = parse_payment_id(rest)
        return Record(fingerprint, state, stream_id=original.stream_id if original else None, original_payment_id=rest)
    return Record(fingerprint, state, stream_id=rest)


def encode_refusal(intent: Intent, funds_text: str) -> str:
    """The record of a refusal for lack of funds, as `lua/reserve.lua` writes it."""
    return f"{intent.fingerprint}{RecordState.REFUSED.value}{funds_text}"


def _parse_accepted(text: str) -> tuple[str, int, Funds | None]:
    """Stream id, version and funds: a dry run has an empty stream id, and only a dry run has funds."""
    stream_id, _, rest = text.partition("|")
    if stream_id or "|" not in rest:
        return stream_id, int(rest), None
    funds = parse_funds(rest)
    return stream_id, funds.version, funds


def parse_decision(text: str) -> Decision:
    """One payment's outcome; `lua/reserve.lua` lists its forms."""
    name, _, rest = text.partition("|")
    code = ReserveCode(name)
    if code is ReserveCode.RESERVED:
        return Decision(code, *_parse_accepted(rest))
    if code is ReserveCode.REPLAYED or code is ReserveCode.REUSED:
        return Decision(code, record=parse_record(rest))
    if code is ReserveCode.COLD:
        return Decision(code)
    return Decision(code, funds=parse_funds(rest), funds_text=rest)
