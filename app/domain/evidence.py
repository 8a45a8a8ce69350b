"""Evidence packets: everything on record of one payment, refund, journal or authorization, as one document.

Its transaction and place in the chain can be proved with a head that somebody kept. All the rest is what Holdfast
states, and the packet is signed. `docs/evidence.md` explains it, `docs/evidence.schema.json` is its schema. All values
are texts, whole numbers, true, false or null, so that the signed form is the same in every language; metadata is a
text.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from json import dumps, loads
from typing import Any

from app.domain.hash_chain import (
    TransactionFacts,
    canonical_entry,
    canonical_json,
    canonical_transaction,
)
from app.domain.timestamps import from_microseconds, rfc3339

PACKET_FORMAT = "holdfast-evidence/1"

PROBLEM_MEMBERS = frozenset({"type", "title", "status", "code", "detail", "retryable"})
"""What every answer that refuses has beside its figures."""

FACTS = (
    "partition", "chain_seq", "entity_id", "external_id", "kind", "payment_id", "relates_to", "fingerprint", "actor",
    "description", "metadata_json", "accepted_at_us", "effective_at_us", "posted_at_us",
)  # fmt: skip
"""The facts of a ledger transaction, in the order in which they are hashed."""


@dataclass(slots=True, frozen=True)
class EntryRecord:
    """An entry, with the balance before it on the account's normal side; minor units, debit positive."""

    account_id: str
    entry_number: int
    amount_minor: int
    balance_before_minor: int
    balance_minor: int
    currency_code: str


@dataclass(slots=True, frozen=True)
class TransactionRecord:
    """A ledger transaction as it was hashed."""

    facts: TransactionFacts
    entries: list[EntryRecord]
    previous_hash: bytes
    hash: bytes

    @property
    def partition(self) -> int:
        """Its chain."""
        return self.facts[0]

    @property
    def chain_seq(self) -> int:
        """Its place in the chain, from one."""
        return self.facts[1]

    @property
    def kind(self) -> str:
        """What it is."""
        return self.facts[4]

    @property
    def posted_at(self) -> datetime:
        """When it was posted."""
        return from_microseconds(self.facts[13])

    @property
    def account_ids(self) -> list[str]:
        """The accounts that it changes."""
        return list(dict.fromkeys(entry.account_id for entry in self.entries))

    @property
    def canonical(self) -> str:
        """The text that its hash is over, after the predecessor's hash."""
        entries = [
            canonical_entry(e.account_id, e.entry_number, e.amount_minor, e.balance_minor, e.currency_code)
            for e in self.entries
        ]
        return canonical_transaction(self.facts, ",".join(entries))

    def document(self) -> dict[str, Any]:
        """The transaction in a packet."""
        return dict(zip(FACTS, self.facts, strict=True)) | {"entries": [asdict(one) for one in self.entries]}


@dataclass(slots=True, frozen=True)
class EventRecord:
    """One step in the history of an authorization."""

    state: str
    amount_minor: int
    actor: str
    intent_id: str | None
    recorded_at: datetime


@dataclass(slots=True, frozen=True)
class AuthorizationRecord:
    """An authorization as the ledger keeps it; `legs` are accounts with signed amounts."""

    payment_id: str
    entity_id: str
    external_id: str
    fingerprint: str
    guarded_account_id: str
    hold_minor: int
    currency_code: str
    legs: list[list[Any]]
    state: str
    expires_at: datetime
    captured_minor: int | None
    concluded_by: str | None
    actor: str
    description: str | None
    effective_at: datetime | None
    metadata_json: str | None
    accepted_at: datetime
    concluded_at: datetime | None
    events: list[EventRecord]


@dataclass(slots=True, frozen=True)
class RejectionRecord:
    """A payment that was acknowledged and that the ledger rejected."""

    payment_id: str
    entity_id: str
    external_id: str
    fingerprint: str
    code: str
    detail: str
    figures: dict[str, Any]
    intent: dict[str, Any]
    rejected_at: datetime


@dataclass(slots=True, frozen=True)
class RelatedRecord:
    """A later transaction about another one: a refund, a journal, a reversal."""

    payment_id: str
    kind: str
    actor: str
    posted_at: datetime


@dataclass(slots=True, frozen=True)
class LimitRecord:
    """The floor of an account in minor units, None if it has none, and its status."""

    account_id: str
    floor_minor: int | None
    status: str


@dataclass(slots=True, frozen=True)
class ConflictRecord:
    """How often posting had to try again on an account."""

    account_id: str
    retries: int
    exhausted: int
    last_at: datetime


@dataclass(slots=True, frozen=True)
class DeliveryRecord:
    """An attempt to deliver an event by webhook; the URL is without its query, which may hold a secret."""

    event_id: str
    event_type: str
    endpoint_id: str
    url: str
    number: int
    started_at: datetime
    duration_ms: int
    status: int | None
    is_delivered: bool


@dataclass(slots=True, frozen=True)
class RunRecord:
    """One reconciliation."""

    run_id: int
    mode: str
    started_at: datetime
    finished_at: datetime
    break_count: int | None


@dataclass(slots=True, frozen=True)
class CallRecord:
    """A call of the API as the audit has it; `duration_us` in microseconds."""

    called_at: datetime
    action: str | None
    request_id: str | None
    actor: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: str | None
    duration_us: int | None


@dataclass(slots=True, frozen=True)
class RefusedCall:
    """A call that was refused, and the beginning of what it was answered."""

    call: CallRecord
    response: str | None

    def refusal(self) -> dict[str, Any]:
        """Why it was refused, with the figures, as far as the audit has kept the answer."""
        try:
            problem = loads(self.response or "{}")
        except ValueError:
            problem = {}
        detail = str(problem.pop("detail", ""))
        figures = {name: value for name, value in problem.items() if name not in PROBLEM_MEMBERS}
        return {"code": self.call.code, "detail": detail, "figures": signable(figures)}


def transition(state: str, at: datetime | None, actor: str | None, by: str | None = None) -> dict[str, Any]:
    """A step on the way: which state, when, who caused it, and the intent or transaction that did it."""
    return {"state": state, "at": moment(at), "actor": actor, "by": by}


def moment(at: datetime | None) -> str | None:
    """A time in a packet."""
    return None if at is None else rfc3339(at)


def text_of(value: Any) -> str | None:
    """A value of any shape as canonical JSON, for what may hold fractions or foreign names; None stays None."""
    return None if value is None else canonical_json(value)


def record(one: Any) -> dict[str, Any]:
    """A record as it stands in a packet, its times as texts."""
    fields = asdict(one)
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in fields.items()}


def signable(value: Any) -> Any:
    """Figures with what JSON has several spellings for, fractions, as texts."""
    if isinstance(value, float):
        return dumps(value)
    if isinstance(value, dict):
        return {name: signable(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [signable(item) for item in value]
    return value
