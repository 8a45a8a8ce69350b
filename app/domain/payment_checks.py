"""The checks of a payment that need no balance, the fingerprint of its content, and the intent that it becomes."""

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from json import dumps
from unicodedata import is_normalized
from zlib import crc32

from app.domain.accounts import MAX_ID_LENGTH, RESERVED_ENDINGS, AccountFacts, AccountStatus, guarded_account
from app.domain.money import MAX_MINOR
from app.domain.payment import Intent, Kind, Leg, PaymentRequest
from app.domain.refusals import Refusal, RefusalCode
from app.domain.splits import Destination, resolve_split
from app.domain.timestamps import rfc3339

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


SHORTEST_EXPIRY_S = 1
LONGEST_EXPIRY_S = 30 * 24 * 3600
DEFAULT_EXPIRY_S = 7 * 24 * 3600
"""Seconds that an authorization may stand; card schemes let one stand for a week to a month."""


def prepare(request: PaymentRequest, facts: Mapping[str, AccountFacts], actor: str) -> Intent | Refusal:
    """Check a payment against the accounts' facts and turn it into an intent; balances are the script's business."""
    destination_ids = request.destination_ids
    refusal = (
        _refuse_ids(request, destination_ids, facts)
        or _refuse_accounts(request, destination_ids, facts)
        or refuse_amount(request.amount_minor)
        or _refuse_expiry(request)
    )
    if refusal is not None:
        return refusal
    legs = _legs(request)
    if isinstance(legs, Refusal):
        return legs
    source = facts[request.source_account_id]
    guard = guarded_account(source, [facts[account_id] for account_id in destination_ids])
    if guard is None:
        return Refusal(
            RefusalCode.TWO_GUARDED_ACCOUNTS,
            "Several balances would fall and have a floor, so no single check can decide this payment; "
            "post it as a journal.",
            {"source_account_id": source.account_id},
        )
    guarded, falls = guard
    held = 0
    if falls:
        held = sum([abs(leg.amount_minor) for leg in legs if leg.account_id == guarded.account_id])
    return Intent(
        entity_id=source.entity_id,
        external_id=request.external_id,
        fingerprint=fingerprint(request),
        guarded_account_id=guarded.account_id,
        hold_minor=held,
        currency_code=source.currency_code,
        legs=legs,
        actor=actor,
        kind=Kind.AUTHORIZATION if request.manual_capture else Kind.PAYMENT,
        description=request.description,
        effective_at=request.effective_at,
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
    if not value or len(value) > MAX_ID_LENGTH or not value.isprintable() or value != value.strip():
        return Refusal(
            RefusalCode.INVALID_ID,
            f"{name} must have 1 to {MAX_ID_LENGTH} printable characters and no white space at its ends.",
            {"field": name},
        )
    return refuse_decomposed(name, value)


def refuse_account_id(account_id: str) -> Refusal | None:
    """Refuse an id for a new account that a path could not carry: something on the way would ask for another account.

    Proxies and clients merge slashes and resolve dots; and what follows an id in our own paths is no part of one.
    """
    if refusal := refuse_id("account_id", account_id):
        return refusal
    if any(segment in ("", ".", "..") for segment in account_id.split("/")):
        detail = "account_id must have no empty segment, `.` or `..` between slashes: in a path a proxy rewrites those."
    elif account_id.endswith(RESERVED_ENDINGS):
        detail = f"account_id must not end in {' or '.join(RESERVED_ENDINGS)}: in a path that asks for something else."
    else:
        return None
    return Refusal(RefusalCode.INVALID_ID, detail, {"field": "account_id"})


def refuse_decomposed(name: str, value: str) -> Refusal | None:
    """Refuse an identifier that is not in Unicode's Normalization Form C: it would look like another and be a second.

    None is changed into that form, for the caller would know it by another name than the ledger does.
    """
    if is_normalized("NFC", value):
        return None
    return Refusal(
        RefusalCode.INVALID_ID,
        f"{name} must be in Unicode Normalization Form C, e.g. é as the one character U+00E9: in another form it looks "
        "the same and is another id.",
        {"field": name},
    )


def _refuse_ids(
    request: PaymentRequest, destination_ids: Sequence[str], facts: Mapping[str, AccountFacts]
) -> Refusal | None:
    if (request.destination_account_id is None) == (not request.destinations):
        return Refusal(
            RefusalCode.MALFORMED_REQUEST,
            "A payment needs exactly one of destination_account_id and destinations.",
            {"field": "destinations"},
        )
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
            return Refusal(
                RefusalCode.ACCOUNTS_EQUAL,
                "Source and destination are the same account; a payment moves money between two.",
                {"account_id": account_id},
            )
    return None


def _refuse_accounts(
    request: PaymentRequest, destination_ids: Sequence[str], facts: Mapping[str, AccountFacts]
) -> Refusal | None:
    if refusal := refuse_unknown((request.source_account_id, *destination_ids), facts):
        return refusal
    source = facts[request.source_account_id]
    if source.bars_debits:
        return refuse_barred(source)
    destinations = [facts[account_id] for account_id in destination_ids]
    for destination in destinations:
        if destination.bars_credits:
            return refuse_barred(destination)
    for destination in destinations:
        if refusal := _refuse_mismatch(request, source, destination):
            return refusal
    return None


def refuse_unknown(account_ids: Sequence[str], facts: Mapping[str, AccountFacts]) -> Refusal | None:
    """Refuse the first of these accounts that does not exist."""
    for account_id in account_ids:
        if account_id not in facts:
            return refuse_decomposed("account_id", account_id) or Refusal(
                RefusalCode.ACCOUNT_NOT_FOUND,
                f"There is no account {account_id!r}; create it with POST /v1/accounts.",
                {"account_id": account_id},
            )
    return None


def _refuse_expiry(request: PaymentRequest) -> Refusal | None:
    if request.expires_in_s is None:
        return None
    if not request.manual_capture:
        return Refusal(
            RefusalCode.EXPIRY_NOT_ALLOWED,
            'Only an authorization (capture: "manual") can expire.',
            {"field": "expires_in_s"},
        )
    if not SHORTEST_EXPIRY_S <= request.expires_in_s <= LONGEST_EXPIRY_S:
        return Refusal(
            RefusalCode.EXPIRY_NOT_ALLOWED,
            f"expires_in_s must lie between {SHORTEST_EXPIRY_S} and {LONGEST_EXPIRY_S}.",
            {"field": "expires_in_s"},
        )
    return None


def refuse_barred(account: AccountFacts) -> Refusal:
    """The refusal of an account that is frozen for this side, or closed."""
    closed = account.status is AccountStatus.CLOSED
    return Refusal(
        RefusalCode.ACCOUNT_CLOSED if closed else RefusalCode.ACCOUNT_FROZEN,
        f"Account {account.account_id!r} is {account.status.value}; nothing was moved.",
        {"account_id": account.account_id, "account_status": account.status.value},
    )


def _refuse_mismatch(request: PaymentRequest, source: AccountFacts, destination: AccountFacts) -> Refusal | None:
    if source.entity_id != destination.entity_id:
        return Refusal(
            RefusalCode.ENTITY_MISMATCH,
            "The accounts belong to the books of different entities.",
            {"source_entity_id": source.entity_id, "destination_entity_id": destination.entity_id},
        )
    for account in (source, destination):
        if account.currency_code != request.currency_code:
            return Refusal(
                RefusalCode.CURRENCY_MISMATCH,
                f"Account {account.account_id!r} is in {account.currency_code}, "
                f"the payment in {request.currency_code}; a payment never crosses currencies.",
                {"account_id": account.account_id, "account_currency_code": account.currency_code},
            )
    return None


def refuse_amount(amount_minor: int) -> Refusal | None:
    """Refuse an amount (minor units) that is not positive or cannot be counted exactly."""
    if amount_minor <= 0:
        return Refusal(
            RefusalCode.AMOUNT_NOT_POSITIVE,
            "amount_minor must be greater than zero.",
            {"amount_minor": amount_minor},
        )
    if amount_minor > MAX_MINOR:
        return Refusal(
            RefusalCode.AMOUNT_OUT_OF_RANGE,
            f"amount_minor is above {MAX_MINOR}, the largest amount that every client counts exactly.",
            {"max_minor": MAX_MINOR},
        )
    return None


CLOCK_SKEW = timedelta(minutes=1)
"""How far a caller's clock may run ahead of ours."""


def refuse_future(name: str, moment: datetime, now: datetime) -> Refusal | None:
    """Refuse a time of effect in the future, beyond what clocks differ by."""
    if moment <= now + CLOCK_SKEW:
        return None
    return Refusal(
        RefusalCode.EFFECTIVE_AT_IN_FUTURE,
        f"{name} {rfc3339(moment)} lies in the future, and a payment takes effect at once or has already; "
        "post what is to take effect later as a journal.",
        {"field": name, "now": rfc3339(now)},
    )
