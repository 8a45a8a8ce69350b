"""Events from rows: what a transaction, and an entry that ends its batch, tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.events import Cursor, Event, EventType
from app.domain.timestamps import rfc3339

MOVED_BY: Mapping[str, EventType] = {
    "payment": EventType.PAYMENT_POSTED,
    "capture": EventType.PAYMENT_CAPTURED,
    "refund": EventType.PAYMENT_REFUNDED,
    "journal": EventType.JOURNAL_POSTED,
    "reversal": EventType.JOURNAL_REVERSED,
}
"""What a transaction of each kind tells."""

FIRST_VERSION = 1
CONCLUDED_VERSION = 2
"""What concludes a payment or a journal. A refund's version is greater, and grows with its place in its chain."""


@dataclass(slots=True, frozen=True)
class AccountFacts:
    """What a balance is told with: `floors` are (position, floor until then), `floor_minor` is after the last."""

    entity_id: str
    currency_code: str
    floors: Sequence[tuple[int, int | None]]
    floor_minor: int | None

    def floor_at(self, position: int) -> int | None:
        """The floor at a position, in minor units."""
        return next((before for changed_at, before in self.floors if changed_at > position), self.floor_minor)


def balance_event(
    cursor: Cursor,
    event_id: str,
    account_id: str,
    at: datetime,
    version: int,
    balance_minor: int,
    held_minor: int,
    facts: AccountFacts,
) -> Event:
    """An account's funds after a posting batch, in minor units, with what open authorizations hold in the ledger."""
    floor_minor = facts.floor_at(cursor.position)
    return Event(
        cursor,
        event_id,
        EventType.BALANCE_UPDATED,
        account_id,
        at,
        version,
        {
            "account_id": account_id,
            "entity_id": facts.entity_id,
            "currency_code": facts.currency_code,
            "balance_minor": balance_minor,
            "held_minor": held_minor,
            "available_minor": balance_minor - held_minor - (floor_minor or 0),
        },
        facts.entity_id,
        (account_id,),
    )


def transaction_event(row: Sequence[Any], legs: Sequence[Sequence[Any]]) -> Event:
    """What a transaction tells; `legs` are its entries in order."""
    position, part, partition, chain_seq, entity_id, external_id, kind, transaction_id, relates_to = row[:9]
    actor, description, metadata, accepted_at, effective_at, posted_at = row[9:15]
    type_ = MOVED_BY[kind]
    told: dict[str, Any] = {
        "entity_id": entity_id,
        "external_id": external_id,
        "actor": actor,
        "description": description,
        "metadata": metadata,
        "accepted_at": rfc3339(accepted_at),
        "effective_at": rfc3339(effective_at),
        "posted_at": rfc3339(posted_at),
        "entries": [_leg(leg) for leg in legs],
    }
    if type_ in (EventType.JOURNAL_POSTED, EventType.JOURNAL_REVERSED):
        named, version = _journal(type_, transaction_id, relates_to)
    else:
        named, version = _payment(type_, transaction_id, relates_to, chain_seq, legs)
    subject = named.get("payment_id") or named.get("journal_id") or transaction_id
    accounts = tuple(dict.fromkeys(leg[5] for leg in legs))
    event_id = f"evt_{partition}_{chain_seq}"
    return Event(
        Cursor(position, part, 0), event_id, type_, subject, posted_at, version, {**named, **told}, entity_id, accounts
    )


def _payment(
    type_: EventType, transaction_id: str, relates_to: str | None, chain_seq: int, legs: Sequence[Sequence[Any]]
) -> tuple[dict[str, Any], int]:
    amount = {
        "amount_minor": sum(leg[7] for leg in legs if leg[7] > 0),
        "currency_code": legs[0][9] if legs else None,
    }
    if type_ is EventType.PAYMENT_REFUNDED:
        return {"payment_id": relates_to, "refund_id": transaction_id, **amount}, CONCLUDED_VERSION + chain_seq
    version = FIRST_VERSION if type_ is EventType.PAYMENT_POSTED else CONCLUDED_VERSION
    return {"payment_id": transaction_id, "status": type_.value.partition(".")[2], **amount}, version


def _journal(type_: EventType, transaction_id: str, relates_to: str | None) -> tuple[dict[str, Any], int]:
    if type_ is EventType.JOURNAL_REVERSED:
        return {"journal_id": relates_to, "reversal_id": transaction_id}, CONCLUDED_VERSION
    return {"journal_id": transaction_id, "relates_to_payment_id": relates_to}, FIRST_VERSION


def _leg(leg: Sequence[Any]) -> dict[str, Any]:
    amount_minor = leg[7]
    return {
        "account_id": leg[5],
        "direction": "debit" if amount_minor > 0 else "credit",
        "amount_minor": abs(amount_minor),
        "currency_code": leg[9],
        "entry_number": leg[6],
    }
