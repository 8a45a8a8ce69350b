"""Payments: what is asked, what is intended, and the checks that need no balance."""

import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from json import dumps
from typing import Any
from zlib import crc32

from app.domain.accounts import MAX_ID_LENGTH, AccountFacts, AccountStatus, guarded_account
from app.domain.money import MAX_MINOR
from app.domain.refusals import Refusal, RefusalCode

FINGERPRINT_LENGTH = 36
"""Characters: 9 bytes of digest and 9 × 2 bytes of field checks, in base64 without padding."""

_FIELDS = (
    "source_account_id",
    "destination_account_id",
    "amount_minor",
    "currency_code",
    "description",
    "effective_at",
    "metadata",
    "capture",
    "kind",
)


@dataclass(slots=True)
class PaymentRequest:
    """A payment as asked for: debit the source, credit the destination. Amounts in minor units."""

    external_id: str
    source_account_id: str
    destination_account_id: str
    amount_minor: int
    currency_code: str
    description: str | None = None
    effective_at: datetime | None = None
    expected_version: int | None = None
    metadata: dict[str, Any] | None = None


@dataclass(slots=True)
class Leg:
    """One side of a movement: a signed amount in minor units, debit positive."""

    account_id: str
    amount_minor: int


@dataclass(slots=True)
class Intent:
    """A decided movement, as the outbox keeps it: every input that posting needs is in here.

    `hold_minor` is what was held on the guarded account until the books have the entry; 0 where its balance rises.
    """

    entity_id: str
    external_id: str
    fingerprint: str
    guarded_account_id: str
    hold_minor: int
    currency_code: str
    legs: list[Leg]
    actor: str
    kind: str = "payment"
    description: str | None = None
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = field(default=None)

    @property
    def source_account_id(self) -> str:
        """The debited account."""
        return self.legs[0].account_id

    @property
    def destination_account_id(self) -> str:
        """The credited account."""
        return self.legs[1].account_id

    @property
    def amount_minor(self) -> int:
        """What moves, in minor units."""
        return self.legs[0].amount_minor


def fingerprint(request: PaymentRequest) -> str:
    """A digest of a payment's content that can also tell which field differs.

    The first 9 bytes decide equality; the checks behind them only name the field. `expected_version` is a
    precondition and not content: a retry may carry a newer one.
    """
    values = (
        request.source_account_id,
        request.destination_account_id,
        str(request.amount_minor),
        request.currency_code,
        request.description or "",
        request.effective_at.isoformat() if request.effective_at else "",
        dumps(request.metadata, sort_keys=True, separators=(",", ":")) if request.metadata else "",
        "",
        "payment",
    )
    encoded = [value.encode() for value in values]
    digest = blake2b(b"\x00".join(encoded), digest_size=9).digest()
    checks = struct.pack(">9H", *[crc32(value) & 0xFFFF for value in encoded])
    return b2a_base64(digest + checks, newline=False).decode()


def differing_field(ours: str, theirs: str) -> str:
    """The name of the first field in which two fingerprints differ."""
    for index, name in enumerate(_FIELDS):
        # Two bytes of check do not align with base64's three, so compare the decoded form.
        if _check(ours, index) != _check(theirs, index):
            return name
    return "content"


def _check(text: str, index: int) -> bytes:
    start = 9 + 2 * index
    return a2b_base64(text)[start : start + 2]


def prepare(request: PaymentRequest, facts: Mapping[str, AccountFacts], actor: str) -> Intent | Refusal:
    """Check a payment against the accounts' facts and turn it into an intent; balances are the script's business."""
    refusal = _refuse_ids(request) or _refuse_accounts(request, facts) or _refuse_amount(request.amount_minor)
    if refusal is not None:
        return refusal
    source, destination = facts[request.source_account_id], facts[request.destination_account_id]
    guard = guarded_account(source, destination)
    if guard is None:
        return Refusal(
            RefusalCode.TWO_GUARDED_ACCOUNTS,
            "Both balances would fall and both have a floor, so no single check can decide this payment; "
            "post it as a journal.",
            {"source_account_id": source.account_id, "destination_account_id": destination.account_id},
        )
    guarded, falls = guard
    return Intent(
        entity_id=source.entity_id,
        external_id=request.external_id,
        fingerprint=fingerprint(request),
        guarded_account_id=guarded.account_id,
        hold_minor=request.amount_minor if falls else 0,
        currency_code=source.currency_code,
        legs=[
            Leg(source.account_id, request.amount_minor),
            Leg(destination.account_id, -request.amount_minor),
        ],
        actor=actor,
        description=request.description,
        effective_at=request.effective_at,
        metadata=request.metadata,
    )


def refuse_id(name: str, value: str) -> Refusal | None:
    """Refuse an identifier that is empty, too long, or holds control characters or outer white space."""
    if not value or len(value) > MAX_ID_LENGTH or not value.isprintable() or value != value.strip():
        return Refusal(
            RefusalCode.INVALID_ID,
            f"{name} must have 1 to {MAX_ID_LENGTH} printable characters and no white space at its ends.",
            {"field": name},
        )
    return None


def _refuse_ids(request: PaymentRequest) -> Refusal | None:
    for name in ("external_id", "source_account_id", "destination_account_id"):
        if refusal := refuse_id(name, getattr(request, name)):
            return refusal
    if request.source_account_id == request.destination_account_id:
        return Refusal(
            RefusalCode.ACCOUNTS_EQUAL,
            "Source and destination are the same account; a payment moves money between two.",
            {"account_id": request.source_account_id},
        )
    return None


def _refuse_accounts(request: PaymentRequest, facts: Mapping[str, AccountFacts]) -> Refusal | None:
    for account_id in (request.source_account_id, request.destination_account_id):
        if account_id not in facts:
            return Refusal(
                RefusalCode.ACCOUNT_NOT_FOUND,
                f"There is no account {account_id!r}; create it with POST /v1/accounts.",
                {"account_id": account_id},
            )
    source, destination = facts[request.source_account_id], facts[request.destination_account_id]
    return (
        _refuse_status(source, source.status.bars_debits)
        or _refuse_status(destination, destination.status.bars_credits)
        or _refuse_mismatch(request, source, destination)
    )


def _refuse_status(account: AccountFacts, barred: bool) -> Refusal | None:
    if not barred:
        return None
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


def _refuse_amount(amount_minor: int) -> Refusal | None:
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
