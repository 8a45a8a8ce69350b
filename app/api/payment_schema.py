"""The bodies of payments, asked and answered, and the request that a body stands for."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.fields import (
    LARGEST_METADATA,
    Amount,
    Balance,
    Count,
    CurrencyCode,
    Description,
    Direction,
    ExpiryS,
    Id,
    Metadata,
    Moment,
    Rules,
    Total,
    Version,
    exactly_one,
)
from app.api.json_body import RequestObject, checked_metadata
from app.api.parameters import in_utc, not_in_future
from app.domain.payment import PaymentRequest
from app.domain.read_models import Durability
from app.domain.refusals import RefusalCode
from app.domain.splits import MOST_DESTINATIONS, SHARE_PATTERN, Destination

Share = Annotated[str, Meta(extra_json_schema={"pattern": SHARE_PATTERN})]


class AcknowledgedStatus(StrEnum):
    """Where a payment stands when it is answered; `dry_run`: there is none, only what it would do."""

    PENDING = "pending"
    POSTED = "posted"
    AUTHORIZED = "authorized"
    DRY_RUN = "dry_run"


class PaymentStatus(StrEnum):
    """Where a payment stands."""

    PENDING = "pending"
    POSTED = "posted"
    REJECTED = "rejected"
    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


class SplitPart(RequestObject):
    """One destination of a split: exactly one of a fixed amount (minor units), a share, or the remainder.

    `share` is a decimal string up to "1" with at most six places; shares are rounded by largest remainder.
    """

    rules: ClassVar[Rules] = exactly_one({"amount_minor": "integer", "share": "string", "remainder": True})

    account_id: Id
    amount_minor: Amount | None = None
    share: Share | None = None
    remainder: bool = False


Destinations = Annotated[list[SplitPart], Meta(max_length=MOST_DESTINATIONS, extra_json_schema={"minItems": 1})]


class NewPayment(RequestObject):
    """A payment to make: debit the source, credit the destination or several. `amount_minor` in minor units.

    It has exactly one of `destination_account_id` and `destinations`.

    With `capture: "manual"` the funds are only held, until the payment is captured, voided, or expires after
    `expires_in_s` seconds.
    """

    rules: ClassVar[Rules] = exactly_one({"destination_account_id": "string", "destinations": "array"})

    external_id: Id
    source_account_id: Id
    amount_minor: Amount
    currency_code: CurrencyCode
    destination_account_id: Id | None = None
    destinations: Destinations | None = None
    description: Description | None = None
    effective_at: Moment | None = None
    expected_version: Version | None = None
    metadata: Metadata | None = None
    capture: Literal["automatic", "manual"] = "automatic"
    expires_in_s: ExpiryS | None = None


class DestinationBody(Struct):
    """What one destination of a split gets; minor units."""

    account_id: str
    amount_minor: Amount


class FundsAfter(Struct):
    """What a dry run would leave on the guarded account, in minor units."""

    account_id: str
    balance_minor: Balance
    held_minor: Balance
    floor_minor: Balance | None
    available_minor: Total


class AcknowledgedPayment(Struct):
    """An accepted payment. `durability` says what the acknowledgement survives; `version` is the guarded account's.

    In a dry run there is no payment: no id, the status `dry_run`, and `funds` and `version` as the payment would leave
    them, if the key has the scope `accounts:read`.
    """

    payment_id: str | None
    external_id: str
    status: AcknowledgedStatus
    durability: Durability
    version: Count | None
    source_account_id: str
    destination_account_id: str | None
    amount_minor: Amount
    currency_code: str
    description: str | None
    effective_at: Moment | None
    metadata: Metadata | None
    accepted_at: Moment | None
    destinations: list[DestinationBody] | UnsetType = UNSET
    expires_at: Moment | UnsetType = UNSET
    funds: FundsAfter | UnsetType = UNSET


class PaymentEntry(Struct):
    """One side of a posted payment, with the balance after it if the caller may read balances; minor units."""

    account_id: str
    entry_number: Count
    direction: Direction
    amount_minor: Amount
    balance_minor: Balance | UnsetType = UNSET


class Rejection(Struct):
    """Why a payment was rejected."""

    code: RefusalCode
    detail: str
    figures: dict[str, Any]


class PaymentBody(Struct, omit_defaults=True):
    """A payment as it stands now: pending, posted or rejected; or authorized, captured, voided or expired.

    Of an authorization `amount_minor` stays what was authorized; `captured_minor` is what was taken of it, and
    `destinations` then say what each got. Once it is in the ledger, `refunded_minor` is what refunds, and journals that
    name it, have given back of it, and `refundable_minor` what remains.
    """

    payment_id: str | None
    external_id: str
    status: PaymentStatus
    durability: Durability | None = None
    source_account_id: str | None = None
    destination_account_id: str | None = None
    amount_minor: Amount | None = None
    captured_minor: Amount | None = None
    refunded_minor: Balance | None = None
    refundable_minor: Balance | None = None
    currency_code: str | None = None
    destinations: list[DestinationBody] | None = None
    description: str | None = None
    effective_at: Moment | None = None
    metadata: Metadata | None = None
    accepted_at: Moment | None = None
    expires_at: Moment | None = None
    concluded_at: Moment | None = None
    posted_at: Moment | None = None
    rejected_at: Moment | None = None
    entries: list[PaymentEntry] | None = None
    ledger_transaction: str | None = None
    duplicate_of: str | None = None
    reason: Rejection | None = None


def requested(
    body: NewPayment,
    expected_version: int | None,
    now: datetime,
    entities: frozenset[str] | None,
    *,
    awaited: bool = False,
) -> PaymentRequest:
    """The request in a body; raises Refused if a field is not valid. `awaited`: the caller waits for the ledger.

    `entities` are those that the caller may act for; None is all of them.
    """
    return PaymentRequest(
        external_id=body.external_id,
        source_account_id=body.source_account_id,
        destination_account_id=body.destination_account_id,
        amount_minor=body.amount_minor,
        currency_code=body.currency_code,
        description=body.description,
        effective_at=not_in_future(in_utc(body.effective_at, "effective_at"), "effective_at", now),
        expected_version=expected_version,
        metadata=checked_metadata(body.metadata, LARGEST_METADATA),
        destinations=() if body.destinations is None else _destinations(body.destinations),
        manual_capture=body.capture == "manual",
        expires_in_s=body.expires_in_s,
        awaited=awaited,
        entities=entities,
    )


def _destinations(parts: Sequence[SplitPart]) -> tuple[Destination, ...]:
    return tuple(Destination(part.account_id, part.amount_minor, part.share, part.remainder) for part in parts)
