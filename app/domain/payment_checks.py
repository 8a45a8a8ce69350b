"""The checks of a payment that need no balance, its fingerprint, and the intent that it becomes."""

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from json import dumps
from unicodedata import is_normalized
from zlib import crc32

from app.domain.account_refusals import account_barred, account_not_found, account_paused, invalid_id, not_composed
from app.domain.accounts import MAX_ID_LENGTH, RESERVED_ENDINGS, AccountFacts, guarded_account
from app.domain.money import MAX_MINOR
from app.domain.payment import Intent, Kind, Leg, PaymentRequest
from app.domain.payment_refusals import (
    amount_not_positive,
    amount_out_of_range,
    currency_mismatch,
    effective_at_in_future,
    entity_mismatch,
    expiry_not_allowed,
    external_id_reused,
    needs_one_destination,
    source_is_destination,
    two_guarded_accounts,
)
from app.domain.refusals import Refusal
from app.domain.splits import Destination, plain_share, resolve_split
from app.domain.timestamps import cut_to_milliseconds

FINGERPRINT_LENGTH = 36
"""Characters: 9 bytes of digest and 9 × 2 bytes of field checks, in base64 without padding."""

SHORTEST_EXPIRY_S = 1
LONGEST_EXPIRY_S = 30 * 24 * 3600
DEFAULT_EXPIRY_S = 7 * 24 * 3600
"""Seconds until an authorization expires; card schemes allow a week to a month."""

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
    """A digest of what a payment means, which can also tell which field differs.

    Two spellings of one meaning have one fingerprint: defaults are applied, a time counts in milliseconds as it is
    answered, a share without zeros at its end, and an empty text or empty metadata like none. `expected_version` is a
    precondition and not content: a retry may carry a newer one. The first 9 bytes decide equality; the checks after
    them only name the field.
    """
    expires_in_s = request.expires_in_s or DEFAULT_EXPIRY_S
    return _fingerprint_as(request, _whole(request.effective_at), expires_in_s, _plain(request.destinations))


def former_fingerprints(request: PaymentRequest) -> tuple[str, ...]:
    """What earlier versions took as the fingerprint of the same request, where it was another.

    They took the default expiry, the microseconds and the shares as they were sent.
    """
    if not (request.manual_capture or request.effective_at or request.destinations):
        return ()
    is_default = request.expires_in_s in (None, DEFAULT_EXPIRY_S)
    found = {
        _fingerprint_as(request, moment, expiry, destinations)
        for moment in (_whole(request.effective_at), request.effective_at)
        for expiry in ((None, DEFAULT_EXPIRY_S) if is_default else (request.expires_in_s,))
        for destinations in (_plain(request.destinations), request.destinations)
    }
    return tuple(sorted(found - {fingerprint(request)}))


def _plain(destinations: Sequence[Destination]) -> Sequence[Destination]:
    return destinations and [replace(one, share=plain_share(one.share)) for one in destinations]


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else cut_to_milliseconds(moment)


def _fingerprint_as(
    request: PaymentRequest,
    effective_at: datetime | None,
    expires_in_s: int | None,
    destinations: Sequence[Destination],
) -> str:
    values = (
        request.source_account_id,
        request.destination_account_id or "",
        str(request.amount_minor),
        request.currency_code,
        request.description or "",
        effective_at.isoformat() if effective_at else "",
        dumps(request.metadata, sort_keys=True, separators=(",", ":")) if request.metadata else "",
        f"manual {expires_in_s}" if request.manual_capture else "",
        _split_text(destinations) if destinations else "",
    )
    return digest_of(values)


def digest_of(values: Sequence[str]) -> str:
    """The fingerprint of a request's nine fields, as text."""
    digest = blake2b("\x00".join(values).encode(), digest_size=9).digest()
    checks = _pack_checks(*[crc32(value.encode()) & 0xFFFF if value else 0 for value in values])
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
    return external_id_reused(intent.external_id, name)


def prepare(request: PaymentRequest, facts: Mapping[str, AccountFacts], actor: str) -> Intent | Refusal:
    """Check a payment against the accounts' facts and turn it into an intent; the cache checks the balance later."""
    destination_ids = request.destination_ids
    refusal = (
        _check_ids(request, destination_ids, facts)
        or _check_accounts(request, destination_ids, facts)
        or refuse_amount(request.amount_minor)
        or _check_expiry(request)
    )
    if refusal is not None:
        return refusal
    legs = _legs(request)
    if isinstance(legs, Refusal):
        return legs
    source = facts[request.source_account_id]
    guard = guarded_account(source, [facts[account_id] for account_id in destination_ids])
    if guard is None:
        return two_guarded_accounts(source.account_id)
    guarded, falls = guard
    held = 0
    if falls:
        held = sum([abs(leg.amount_minor) for leg in legs if leg.account_id == guarded.account_id])
    return Intent(
        entity_id=source.entity_id,
        external_id=request.external_id,
        fingerprint=fingerprint(request),
        former_fingerprints=former_fingerprints(request),
        guarded_account_id=guarded.account_id,
        hold_minor=held,
        currency_code=source.currency_code,
        legs=legs,
        actor=actor,
        kind=Kind.AUTHORIZATION if request.manual_capture else Kind.PAYMENT,
        description=request.description,
        effective_at=_whole(request.effective_at),
        metadata=request.metadata,
        expires_in_s=request.expires_in_s if request.manual_capture else None,
        awaited=request.awaited,
    )


def _legs(request: PaymentRequest) -> list[Leg] | Refusal:
    """Source first, then the destinations; a destination that comes to nothing has no leg."""
    debit = Leg(request.source_account_id, request.amount_minor)
    if request.destination_account_id is not None:
        return [debit, Leg(request.destination_account_id, -request.amount_minor)]
    parts = resolve_split(request.destinations, request.amount_minor)
    if isinstance(parts, Refusal):
        return parts
    credited = zip(request.destination_ids, parts, strict=True)
    return [debit, *(Leg(account_id, -part) for account_id, part in credited if part)]


def refuse_id(name: str, value: str) -> Refusal | None:
    """Refuse an identifier that is empty, too long, not composed, or holds control characters or outer white space."""
    return refuse_unreadable_id(name, value) or refuse_decomposed(name, value)


def refuse_unreadable_id(name: str, value: str) -> Refusal | None:
    """Refuse an identifier that none has ever been, in whichever normalization form."""
    if not value or len(value) > MAX_ID_LENGTH or not value.isprintable() or value != value.strip():
        return invalid_id(name, f"have 1 to {MAX_ID_LENGTH} printable characters and no white space at its ends")
    return None


def refuse_account_id(account_id: str) -> Refusal | None:
    """Refuse an id for a new account that a path could not carry: something on the way would ask for another account.

    Proxies and clients merge slashes and resolve dots; and what follows an id in our own paths is no part of one.
    """
    if refusal := refuse_id("account_id", account_id):
        return refusal
    if any(segment in ("", ".", "..") for segment in account_id.split("/")):
        rule = "have no empty segment, `.` or `..` between slashes: in a path a proxy rewrites those"
        return invalid_id("account_id", rule)
    if account_id.endswith(RESERVED_ENDINGS):
        endings = " or ".join(RESERVED_ENDINGS)
        return invalid_id("account_id", f"not end in {endings}: in a path that asks for something else")
    return None


def refuse_decomposed(name: str, value: str) -> Refusal | None:
    """Refuse an identifier that is not in Unicode's Normalization Form C: it would look like another and be a second.

    None is changed into that form, for the caller would know it by another name than the ledger does.
    """
    if is_normalized("NFC", value):
        return None
    return not_composed(name)


def _check_ids(
    request: PaymentRequest, destination_ids: Sequence[str], facts: Mapping[str, AccountFacts]
) -> Refusal | None:
    if (request.destination_account_id is None) == (not request.destinations):
        return needs_one_destination()
    if refusal := refuse_id("external_id", request.external_id):
        return refusal
    source_id = request.source_account_id
    # An account that exists has a valid id.
    if source_id not in facts and (refusal := refuse_id("source_account_id", source_id)):
        return refusal
    for account_id in destination_ids:
        if account_id not in facts and (refusal := refuse_id("destination_account_id", account_id)):
            return refusal
        if source_id == account_id:
            return source_is_destination(account_id)
    return None


def _check_accounts(
    request: PaymentRequest, destination_ids: Sequence[str], facts: Mapping[str, AccountFacts]
) -> Refusal | None:
    if refusal := refuse_unknown((request.source_account_id, *destination_ids), facts):
        return refusal
    source = facts[request.source_account_id]
    if source.bars_debits:
        return refuse_barred(source, is_debit=True)
    destinations = [facts[account_id] for account_id in destination_ids]
    for destination in destinations:
        if destination.bars_credits:
            return refuse_barred(destination, is_debit=False)
    for destination in destinations:
        if refusal := _check_match(request, source, destination):
            return refusal
    return None


def refuse_unknown(account_ids: Sequence[str], facts: Mapping[str, AccountFacts]) -> Refusal | None:
    """Refuse the first of these accounts that does not exist."""
    for account_id in account_ids:
        if account_id not in facts:
            return account_not_found(account_id)
    return None


def _check_expiry(request: PaymentRequest) -> Refusal | None:
    if request.expires_in_s is None:
        return None
    if not request.manual_capture:
        return expiry_not_allowed('Only an authorization (capture: "manual") can expire.')
    if not SHORTEST_EXPIRY_S <= request.expires_in_s <= LONGEST_EXPIRY_S:
        return expiry_not_allowed(f"expires_in_s must lie between {SHORTEST_EXPIRY_S} and {LONGEST_EXPIRY_S}.")
    return None


def refuse_barred(account: AccountFacts, *, is_debit: bool) -> Refusal:
    """The refusal of an account that is frozen for this side or closed, or that takes no payment for a moment."""
    if not (account.status.bars_debits if is_debit else account.status.bars_credits):
        return account_paused(account.account_id)
    return account_barred(account.account_id, account.status.value)


def _check_match(request: PaymentRequest, source: AccountFacts, destination: AccountFacts) -> Refusal | None:
    if source.entity_id != destination.entity_id:
        return entity_mismatch(source_entity_id=source.entity_id, destination_entity_id=destination.entity_id)
    for account in (source, destination):
        if account.currency_code != request.currency_code:
            return currency_mismatch(account.account_id, account.currency_code, request.currency_code)
    return None


def refuse_amount(amount_minor: int) -> Refusal | None:
    """Refuse an amount (minor units) that is not positive or cannot be counted exactly."""
    if amount_minor <= 0:
        return amount_not_positive(amount_minor)
    if amount_minor > MAX_MINOR:
        return amount_out_of_range(MAX_MINOR)
    return None


CLOCK_SKEW = timedelta(minutes=1)
"""How far a caller's clock may run ahead of ours."""


def refuse_future(name: str, moment: datetime, now: datetime) -> Refusal | None:
    """Refuse a time of effect in the future, beyond what clocks differ by."""
    if moment <= now + CLOCK_SKEW:
        return None
    return effective_at_in_future(name, moment, now)
