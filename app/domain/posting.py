"""What a batch of intents does to the books: a pure decision over the rows that the posting transaction has locked.

Nothing here writes. The database adds the deltas itself and returns the resulting balances; the posting compares
them with this plan and aborts on any difference.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.clock import from_milliseconds
from app.domain.entries import Entry, LedgerTransaction, chain_hash
from app.domain.money import in_range
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent, differing_field
from app.domain.refusals import Refusal, RefusalCode


@dataclass(slots=True)
class QueuedIntent:
    """An intent and where it stands in the outbox."""

    place: PaymentPosition
    intent: Intent

    @property
    def key(self) -> tuple[str, str]:
        """What is unique for ever: entity and external id."""
        return self.intent.entity_id, self.intent.external_id

    @property
    def account_ids(self) -> list[str]:
        """The accounts that the intent touches, in leg order."""
        return [leg.account_id for leg in self.intent.legs]


@dataclass(slots=True)
class LedgerBalance:
    """An account's row in the books: balance on its normal side after `entry_count` entries, minor units."""

    account_id: str
    entity_id: str
    currency_code: str
    normal_sign: int
    balance_minor: int
    floor_minor: int | None
    version: int
    entry_count: int
    updated_at: datetime


@dataclass(slots=True)
class ChainHead:
    """The end of a partition's hash chain."""

    partition: int
    chain_seq: int
    chain_hash: bytes
    last_position: str
    last_posted_at: datetime


@dataclass(slots=True, frozen=True)
class KnownOutcome:
    """What the books already say of an external id."""

    payment_id: str
    fingerprint: str
    posted: bool


@dataclass(slots=True)
class Rejection:
    """An acknowledged intent that the books refuse."""

    queued: QueuedIntent
    refusal: Refusal


@dataclass(slots=True)
class Duplicate:
    """A late repeat of what is posted already."""

    queued: QueuedIntent
    original_payment_id: str


@dataclass(slots=True)
class PostingPlan:
    """What is to be written for a batch, all or nothing."""

    transactions: list[LedgerTransaction] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    redelivered: list[tuple[QueuedIntent, bool]] = field(default_factory=list)
    """Intents whose outcome is in the books already, and whether that is a posting; only their settle is due."""
    deltas: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Per account: change of its balance on the normal side, and number of new entries."""


def plan_posting(
    batch: Iterable[QueuedIntent],
    known: Mapping[tuple[str, str], KnownOutcome],
    rejected_before: Collection[str],
    balances: dict[str, LedgerBalance],
    heads: dict[int, ChainHead],
    posted_at: datetime,
    refused: Mapping[str, Refusal] | None = None,
) -> PostingPlan:
    """Decide each intent in order; `rejected_before` and the keys of `refused` are payment ids.

    `refused` are intents that a constraint of the books turned out to reject. `balances` and `heads` are advanced
    to the state after the batch.
    """
    plan = PostingPlan()
    outcomes = dict(known)
    for queued in batch:
        if queued.place.payment_id in rejected_before:
            plan.redelivered.append((queued, False))
            continue
        outcome = outcomes.get(queued.key)
        if outcome is not None:
            _answer_known(plan, queued, outcome)
            continue
        refusal = (refused or {}).get(queued.place.payment_id) or _refuse(queued.intent, balances)
        if refusal is not None:
            plan.rejections.append(Rejection(queued, refusal))
            continue
        plan.transactions.append(_append(queued, plan.deltas, balances, heads[queued.place.partition], posted_at))
        outcomes[queued.key] = KnownOutcome(queued.place.payment_id, queued.intent.fingerprint, posted=True)
    return plan


def _answer_known(plan: PostingPlan, queued: QueuedIntent, outcome: KnownOutcome) -> None:
    if outcome.payment_id == queued.place.payment_id:
        plan.redelivered.append((queued, True))
        return
    if outcome.posted and outcome.fingerprint == queued.intent.fingerprint:
        plan.duplicates.append(Duplicate(queued, outcome.payment_id))
        return
    plan.rejections.append(Rejection(queued, refuse_known(queued.intent, outcome)))


def refuse_known(intent: Intent, outcome: KnownOutcome) -> Refusal:
    """The refusal of an external id that the books know for something else, or have refused."""
    if intent.fingerprint != outcome.fingerprint:
        name = differing_field(intent.fingerprint, outcome.fingerprint)
        return Refusal(
            RefusalCode.EXTERNAL_ID_REUSED,
            f"external_id {intent.external_id!r} belongs to another payment: {name} differs.",
            {"field": name, "payment_id": outcome.payment_id},
        )
    return Refusal(
        RefusalCode.EXTERNAL_ID_REFUSED,
        f"external_id {intent.external_id!r} was refused before; send a new one to try again.",
        {"payment_id": outcome.payment_id},
    )


def _refuse(intent: Intent, balances: Mapping[str, LedgerBalance]) -> Refusal | None:
    for leg in intent.legs:
        row = balances.get(leg.account_id)
        if row is None:
            return Refusal(
                RefusalCode.ACCOUNT_NOT_FOUND,
                f"The books have no account {leg.account_id!r}.",
                {"account_id": leg.account_id},
            )
        if row.entity_id != intent.entity_id:
            return Refusal(
                RefusalCode.ENTITY_MISMATCH,
                f"Account {leg.account_id!r} belongs to entity {row.entity_id!r}.",
                {"account_id": leg.account_id, "entity_id": row.entity_id},
            )
        if row.currency_code != intent.currency_code:
            return Refusal(
                RefusalCode.CURRENCY_MISMATCH,
                f"Account {leg.account_id!r} is in {row.currency_code}.",
                {"account_id": leg.account_id, "account_currency_code": row.currency_code},
            )
        change = row.normal_sign * leg.amount_minor
        after = row.balance_minor + change
        if change < 0 and row.floor_minor is not None and after < row.floor_minor:
            return Refusal(
                RefusalCode.INSUFFICIENT_FUNDS,
                f"The books would take account {leg.account_id!r} below its floor.",
                {
                    "account_id": leg.account_id,
                    "balance_minor": row.balance_minor,
                    "floor_minor": row.floor_minor,
                    "amount_minor": abs(leg.amount_minor),
                },
            )
        if not in_range(after):
            return Refusal(
                RefusalCode.BALANCE_OUT_OF_RANGE,
                f"The balance of account {leg.account_id!r} would leave the range of ±(2^53 − 1).",
                {"account_id": leg.account_id, "balance_minor": row.balance_minor},
            )
    return None


def _append(
    queued: QueuedIntent,
    deltas: dict[str, tuple[int, int]],
    balances: dict[str, LedgerBalance],
    head: ChainHead,
    posted_at: datetime,
) -> LedgerTransaction:
    intent = queued.intent
    entries = []
    for leg in intent.legs:
        row = balances[leg.account_id]
        change = row.normal_sign * leg.amount_minor
        row.balance_minor += change
        row.entry_count += 1
        row.version += 1
        row.updated_at = posted_at
        delta, count = deltas.get(leg.account_id, (0, 0))
        deltas[leg.account_id] = (delta + change, count + 1)
        entries.append(
            Entry(leg.account_id, row.entry_count, leg.amount_minor, row.balance_minor, intent.currency_code)
        )
    accepted_at = from_milliseconds(queued.place.accepted_at_ms)
    transaction = LedgerTransaction(
        partition=head.partition,
        chain_seq=head.chain_seq + 1,
        entity_id=intent.entity_id,
        external_id=intent.external_id,
        kind=intent.kind,
        payment_id=queued.place.payment_id,
        fingerprint=intent.fingerprint,
        actor=intent.actor,
        description=intent.description,
        metadata=intent.metadata,
        accepted_at=accepted_at,
        effective_at=intent.effective_at or accepted_at,
        posted_at=posted_at,
        entries=entries,
        previous_hash=head.chain_hash,
    )
    transaction.hash = chain_hash(transaction)
    head.chain_seq = transaction.chain_seq
    head.chain_hash = transaction.hash
    head.last_position = queued.place.position
    head.last_posted_at = posted_at
    return transaction
