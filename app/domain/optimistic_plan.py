"""Planning ordinary payments on rows that the drain remembers, without reading or locking them first.

Most batches hold nothing but payments that the books will take. Their accounts are those that this drain posted to a
moment ago, so it knows their rows. A plan made on remembered rows refuses nothing: whatever is out of the ordinary is
no plan, and the careful path decides it on locked rows (`app/domain/posting_plan.py`). A remembered row may be
stale; the posting compares every row with what the plan began from, and writes nothing where one differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain.hash_chain import EntryRow, TransactionRow, canonical_entry, canonical_json, hash_behind
from app.domain.ledger_rows import ChainHead, LedgerBalance, QueuedIntent
from app.domain.payment import Intent, Kind
from app.domain.posting_plan import takes
from app.domain.timestamps import EPOCH, to_microseconds

REMEMBERED_ACCOUNTS = 50_000
"""Rows kept from one turn to the next, some 400 bytes each."""

_PAYMENT = Kind.PAYMENT.value


@dataclass(slots=True)
class RememberedRows:
    """The rows of accounts and chains as this drain last knew them. They are replaced, never changed."""

    balances: dict[str, LedgerBalance] = field(default_factory=dict)
    heads: dict[int, ChainHead] = field(default_factory=dict)
    latest: datetime = EPOCH
    """The latest time that any of these rows has seen."""

    def learn(self, balances: Mapping[str, LedgerBalance], heads: Mapping[int, ChainHead]) -> None:
        """Remember rows as the books have them."""
        self.balances.update(balances)
        self.heads.update(heads)
        seen = [row.updated_at for row in balances.values()] + [head.last_posted_at for head in heads.values()]
        self.latest = max(self.latest, *seen)

    def follow(self, plan: "OptimisticPlan") -> None:
        """Remember rows as they are once a plan is written."""
        self.balances.update(plan.balances)
        self.heads.update(plan.heads)
        self.latest = plan.posted_at

    def forget(self) -> None:
        """Know nothing: something was not as remembered, or what was to be written was not."""
        self.balances.clear()
        self.heads.clear()
        self.latest = EPOCH

    def forget_if_large(self) -> None:
        """Begin anew where too many accounts are remembered."""
        if len(self.balances) > REMEMBERED_ACCOUNTS:
            self.forget()

    def knows_chains(self, batch: Sequence[QueuedIntent]) -> bool:
        """Whether the heads of all chains that a batch advances are remembered."""
        return {queued.outbox_position.partition for queued in batch} <= self.heads.keys()

    def unknown(self, batch: Sequence[QueuedIntent]) -> set[str]:
        """The accounts of a batch whose rows must be read first."""
        touched = {leg.account_id for queued in batch for leg in queued.intent.legs}
        return touched - self.balances.keys()


@dataclass(slots=True)
class OptimisticPlan:
    """What is to be written for ordinary payments, all or nothing, and what it was planned on."""

    posted_at: datetime
    transactions: list[TransactionRow] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    balances: dict[str, LedgerBalance] = field(default_factory=dict)
    """The touched accounts' rows afterwards."""
    heads: dict[int, ChainHead] = field(default_factory=dict)
    """The touched chains' heads afterwards."""
    balances_before: list[LedgerBalance] = field(default_factory=list)
    """The rows that `balances` were planned on, in the same order."""
    heads_before: list[ChainHead] = field(default_factory=list)


def is_ordinary(batch: Sequence[QueuedIntent]) -> bool:
    """Whether all are plain payments, each for itself."""
    return all(queued.intent.kind == _PAYMENT and queued.intent.linked is None for queued in batch)


def plan_optimistically(batch: Sequence[QueuedIntent], memory: RememberedRows, now: datetime) -> OptimisticPlan | None:
    """Plan ordinary payments, in order; None where the books might refuse one, or a row is not remembered.

    `now` is the books' time; nothing is stamped before what its accounts and chains have seen.
    """
    plan = OptimisticPlan(max(now, memory.latest))
    posted_at_us = to_microseconds(plan.posted_at)
    for queued in batch:
        head = plan.heads.get(queued.outbox_position.partition) or _touched_head(
            plan, memory, queued.outbox_position.partition
        )
        if head is None:
            return None
        entries = _append_entries(plan, memory, queued.intent, head, posted_at_us)
        if entries is None:
            return None
        _append_transaction(plan, queued, head, entries, posted_at_us)
    return plan


def _append_entries(
    plan: OptimisticPlan, memory: RememberedRows, intent: Intent, head: ChainHead, posted_at_us: int
) -> str | None:
    """Append the entries of one payment and advance its accounts; their canonical form, or None if one is not fit."""
    rows, lines = plan.balances, plan.entries
    partition, chain_seq = head.partition, head.chain_seq + 1
    texts = []
    for leg, one in enumerate(intent.legs):
        account_id, amount_minor = one.account_id, one.amount_minor
        row = rows.get(account_id) or _touched_row(plan, memory, account_id)
        if row is None or not takes(row, intent, amount_minor):
            return None
        row.balance_minor = balance_minor = row.balance_minor + row.normal_sign * amount_minor
        row.entry_count = number = row.entry_count + 1
        row.version += 1
        currency_code = row.currency_code
        lines.append(
            (account_id, number, partition, chain_seq, leg, amount_minor, balance_minor, currency_code, posted_at_us)
        )
        texts.append(canonical_entry(account_id, number, amount_minor, balance_minor, currency_code))
    return ",".join(texts)


def _append_transaction(
    plan: OptimisticPlan, queued: QueuedIntent, head: ChainHead, entries: str, posted_at_us: int
) -> None:
    """Append the transaction of one payment and make it the head of its chain."""
    intent, outbox_position = queued.intent, queued.outbox_position
    accepted_at_us = outbox_position.accepted_at_ms * 1_000
    facts = (
        head.partition,
        head.chain_seq + 1,
        intent.entity_id,
        intent.external_id,
        intent.kind,
        outbox_position.payment_id,
        None,
        intent.fingerprint,
        intent.actor,
        intent.description,
        None if intent.metadata is None else canonical_json(intent.metadata),
        accepted_at_us,
        accepted_at_us if intent.effective_at is None else to_microseconds(intent.effective_at),
        posted_at_us,
    )
    chain_hash = hash_behind(head.chain_hash, facts, entries)
    plan.transactions.append((facts, head.chain_hash, chain_hash))
    head.chain_seq += 1
    head.chain_hash = chain_hash
    head.last_position = outbox_position.stream_id


def _touched_row(plan: OptimisticPlan, memory: RememberedRows, account_id: str) -> LedgerBalance | None:
    """A copy of a remembered row for the plan to advance."""
    row = memory.balances.get(account_id)
    if row is None:
        return None
    plan.balances_before.append(row)
    copy = plan.balances[account_id] = LedgerBalance(
        row.account_id,
        row.entity_id,
        row.currency_code,
        row.normal_sign,
        row.balance_minor,
        row.floor_minor,
        row.version,
        row.entry_count,
        plan.posted_at,
    )
    return copy


def _touched_head(plan: OptimisticPlan, memory: RememberedRows, partition: int) -> ChainHead | None:
    """A copy of a remembered head for the plan to advance."""
    head = memory.heads.get(partition)
    if head is None:
        return None
    plan.heads_before.append(head)
    copy = plan.heads[partition] = ChainHead(
        partition, head.chain_seq, head.chain_hash, head.last_position, plan.posted_at
    )
    return copy
