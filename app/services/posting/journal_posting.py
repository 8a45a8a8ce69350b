"""Posting journals, reversals and refunds while the caller waits, under a hold of the funds that they take.

A journal touches accounts of several partitions, so no single script call can decide it. Its funds are held in every
partition first, then the ledger is written, then the cache is settled. A process that is killed in between leaves the
holds in the outboxes, where the drain finds them and asks the ledger what became of the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.errors import (
    CacheUnavailable,
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    LedgerConstraintViolated,
    OutcomeUnknown,
)
from app.domain.hash_chain import LedgerTransaction, transactions_from
from app.domain.journals import Draft, Order, hold_intents, is_repeat, plan_journal, refuse_reused_by
from app.domain.ledger_rows import LedgerBalance, QueuedIntent
from app.domain.payment import Intent, OutboxPosition
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Decision, Failed, ReserveCode, ReserveItem, ReserveReply, Stale
from app.domain.settlement import AccountSettlement
from app.domain.timestamps import to_milliseconds
from app.services.accounts.directory import DirectorySnapshot
from app.services.payments.decide import Decider, NotReady
from app.services.posting.contention import RETRIES, backoff_s

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.journal_sessions import JournalSession, JournalSessions
    from app.ledger.transactions import LedgerTransactions


log = logging.getLogger(__name__)

SETTLED_AT_ONCE = 50
"""Accounts a call: the holds of an account and their intents must go in the same one."""


class JournalHolds:
    """Holds funds for a journal in every partition that guards one of its accounts, or in none."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def hold(self, intents: Sequence[Intent], directory_version: int, *, dry_run: bool) -> list[QueuedIntent] | Refusal:
        """Hold what the intents say, and return them, the first one first. A dry run holds nothing.

        If one partition does not hold, the others release what they hold; NotReady where the next attempt may succeed.
        What a lost answer leaves held, the drain releases when it finds it.
        """
        groups = self._by_partition(intents)
        calls = [(partition, [ReserveItem(one) for one in group]) for partition, group in groups.items()]
        replies = self._cache.reservations.reserve_unclaimed(calls, directory_version, atomic=True, dry_run=dry_run)
        answered = list(zip(groups.items(), replies, strict=True))
        held = [one for (partition, group), reply in answered for one in _placed(partition, group, reply)]
        if len(held) == len(intents):
            return sorted(held, key=lambda one: one.intent is not intents[0])
        self.release([] if dry_run else held)
        refusal = next((found for (_, group), reply in answered if (found := _refusal(group, reply))), None)
        if refusal is not None:
            return refusal
        cold = [group for (_, group), reply in answered if isinstance(reply, Failed)]
        raise NotReady(
            stale_partitions=[partition for (partition, _), reply in answered if isinstance(reply, Stale)],
            cold_account_ids={one.guarded_account_id for group in cold for one in group},
        )

    def release(self, held: Sequence[QueuedIntent]) -> None:
        """Release what was held; where the cache does not answer now, the drain does it later."""
        for partition, chunk in self._chunks(held, {one.intent.guarded_account_id for one in held}):
            accounts = [
                # At entry 0 every account has zero: no cached account is older, so its balance stays as it is.
                AccountSettlement(account_id, 0, 0, 0, 0, released=stream_ids)
                for account_id, stream_ids in chunk
            ]
            self._settle(partition, accounts, [stream_id for _, stream_ids in chunk for stream_id in stream_ids])

    def settle(self, held: Sequence[QueuedIntent], balances: dict[str, LedgerBalance]) -> None:
        """Tell the cache what the ledger says of every account, and release what was held.

        The partition of the first hold comes last: its intent names all accounts, for the drain that may finish this.
        """
        for partition, chunk in self._chunks(held, set(balances)):
            accounts = [_settlement(balances[account_id], stream_ids) for account_id, stream_ids in chunk]
            self._settle(partition, accounts, [stream_id for _, stream_ids in chunk for stream_id in stream_ids])

    def _settle(self, partition: int, accounts: Sequence[AccountSettlement], done: Sequence[str]) -> None:
        try:
            self._cache.outbox.settle(partition, accounts, done=done)
        except (CacheUnavailable, OutcomeUnknown) as fault:
            log.warning("holds of partition %d not settled, the drain will: %s", partition, fault)

    def _by_partition(self, intents: Sequence[Intent]) -> dict[int, list[Intent]]:
        groups: dict[int, list[Intent]] = {}
        for one in intents:
            groups.setdefault(self._cache.partition_of(one.guarded_account_id), []).append(one)
        return groups

    def _chunks(
        self, held: Sequence[QueuedIntent], account_ids: set[str]
    ) -> Iterator[tuple[int, list[tuple[str, list[str]]]]]:
        """Accounts with what is held on them, a partition at a time, the first hold's account at the very end."""
        stream_ids = {one.intent.guarded_account_id: one.outbox_position.stream_id for one in held}
        last = held[0].intent.guarded_account_id if held else ""
        groups: dict[int, list[str]] = {}
        for account_id in sorted(account_ids, key=lambda one: (one == last, one)):
            groups.setdefault(self._cache.partition_of(account_id), []).append(account_id)
        home = self._cache.partition_of(last)
        for partition in sorted(groups, key=lambda one: one == home):
            group = groups[partition]
            for start in range(0, len(group), SETTLED_AT_ONCE):
                chunk = group[start : start + SETTLED_AT_ONCE]
                yield partition, [(one, [stream_ids[one]] if one in stream_ids else []) for one in chunk]


def _placed(partition: int, group: Sequence[Intent], reply: ReserveReply | Failed | Stale) -> list[QueuedIntent]:
    """The intents that a partition holds now; none where it did not decide, or refused."""
    if not isinstance(reply, ReserveReply):
        return []
    return [
        QueuedIntent(OutboxPosition(partition, decision.stream_id or ""), intent)
        for intent, decision in zip(group, reply.decisions, strict=True)
    ]


def _settlement(row: LedgerBalance, stream_ids: list[str]) -> AccountSettlement:
    updated_at_ms = to_milliseconds(row.updated_at)
    return AccountSettlement(
        row.account_id, row.balance_minor, row.entry_count, row.version, updated_at_ms, posted=stream_ids
    )


def _refusal(group: Sequence[Intent], reply: ReserveReply | Failed | Stale) -> Refusal | None:
    if not isinstance(reply, Failed) or reply.decision.code is ReserveCode.COLD:
        return None
    return _refuse(group[reply.index], reply.decision)


def _refuse(intent: Intent, decision: Decision) -> Refusal:
    account_id, funds = intent.guarded_account_id, decision.funds
    assert funds is not None
    figures: dict[str, object] = {
        "account_id": account_id,
        "amount_minor": intent.hold_minor,
        "balance_minor": funds.balance_minor,
        "held_minor": funds.held_minor,
        "floor_minor": funds.floor_minor,
        "available_minor": funds.available_minor,
    }
    if decision.code is ReserveCode.INSUFFICIENT_FUNDS:
        detail = f"Account {account_id!r} has {funds.available_minor} available, {intent.hold_minor} are needed."
        return Refusal(RefusalCode.INSUFFICIENT_FUNDS, f"{detail} Nothing was moved.", figures)
    if decision.code is ReserveCode.BALANCE_OUT_OF_RANGE:
        detail = f"The funds of account {account_id!r} would leave the range of ±(2^53 − 1)."
        return Refusal(RefusalCode.BALANCE_OUT_OF_RANGE, detail, figures)
    detail = "More payments wait for the books than the configured limit; nothing was moved. Retry."
    return Refusal(RefusalCode.LEDGER_BACKLOGGED, detail, figures)


PATIENT_TRIES = 3
"""Tries beside the drains. Later ones make the drains wait, which costs everybody more than a try does."""

Drafting = Callable[[DirectorySnapshot], Draft | Refusal]
"""Makes the draft of an order from the accounts' facts, under the order's locks."""

Repeats = Callable[[Order, LedgerTransaction], bool]
"""Whether the ledger's transaction under an order's external id is what the order asks for."""


@dataclass(slots=True)
class Done:
    """A journal, reversal or refund in the ledger; with `is_dry_run`, as it would be there."""

    transaction: LedgerTransaction
    replayed: bool = False
    is_dry_run: bool = False


class _Contended(ConcurrencyConflict):
    """Another transaction has locked some of the accounts."""

    def __init__(self, account_ids: set[str]) -> None:
        super().__init__("accounts are locked")
        self.account_ids = account_ids


@dataclass(slots=True)
class JournalPoster:
    """Posts drafts; orders of one external id, or that relate to the same payment or journal, follow one another."""

    ledger: JournalSessions
    register: LedgerTransactions
    cache: Cache
    holds: JournalHolds
    decider: Decider
    wake: Callable[[], None]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    new_attempt_id: Callable[[], str]

    def post(
        self,
        order: Order,
        entity_id: str,
        drafting: Drafting,
        *,
        dry_run: bool = False,
        is_repeat: Repeats = is_repeat,
    ) -> Done | Refusal:
        """Post what an order asks for, once; a repeat, as `is_repeat` recognises it, answers what was posted.

        Raises ConcurrencyRetryExhausted where the ledger could not lock the accounts; nothing was moved then.
        """
        known = self._known(order, entity_id, is_repeat)
        if known is not None:
            return known
        with self.ledger.session(_locks(order, entity_id)) as session:

            def attempt(snapshot: DirectorySnapshot) -> Done | Refusal:
                known = self._known(order, entity_id, is_repeat) or self._claimed(order, entity_id)
                return known or self._attempt(session, drafting(snapshot), snapshot, dry_run=dry_run)

            return self.decider.decide(attempt)

    # Recognising a repeat

    def _known(self, order: Order, entity_id: str, is_repeat: Repeats) -> Done | Refusal | None:
        """What the ledger has under this external id."""
        posted = self.register.by_external_id(entity_id, order.external_id)
        if posted is None:
            return None
        if not is_repeat(order, posted):
            return refuse_reused_by(order, posted.fingerprint)
        return Done(posted, replayed=True)

    def _claimed(self, order: Order, entity_id: str) -> Refusal | None:
        """The refusal of an external id that a payment has used, which may still be pending."""
        partition = self.cache.reservations.claimed_partition(entity_id, order.external_id)
        record = None if partition is None else self.cache.reservations.record(partition, entity_id, order.external_id)
        return None if record is None else refuse_reused_by(order, record.fingerprint)

    # One attempt

    def _attempt(
        self, session: JournalSession, draft: Draft | Refusal, snapshot: DirectorySnapshot, *, dry_run: bool
    ) -> Done | Refusal:
        if isinstance(draft, Refusal):
            self.decider.require_current_facts([draft], snapshot.version)
            return draft
        intents = hold_intents(draft, snapshot.facts(draft.account_ids), self.new_attempt_id())
        held = self.holds.hold(intents, snapshot.version, dry_run=dry_run)
        if isinstance(held, Refusal):
            return held
        return self._post_held(session, draft, held, dry_run=dry_run)

    def _post_held(
        self, session: JournalSession, draft: Draft, held: list[QueuedIntent], *, dry_run: bool
    ) -> Done | Refusal:
        """Post what is held, and release it where the ledger does not post."""
        if dry_run:
            return self._retried(session, draft, None)
        # A fault that leaves the ledger's answer unknown leaves the holds too: the drain asks the ledger later.
        try:
            outcome = self._retried(session, draft, held)
            if isinstance(outcome, Refusal):
                self.holds.release(held)
        except (ConcurrencyConflict, ConcurrencyRetryExhausted):
            self.holds.release(held)
            raise
        finally:
            self.wake()  # payments accepted meanwhile found the outbox not empty, and did not wake the drain
        return outcome

    def _retried(self, session: JournalSession, draft: Draft, held: list[QueuedIntent] | None) -> Done | Refusal:
        for attempt in range(RETRIES):
            try:
                return self._write(session, draft, held, without_drains=attempt >= PATIENT_TRIES)
            except ConcurrencyConflict as conflict:
                self._count(session, draft, conflict, last=attempt + 1 == RETRIES)
                self.sleep(backoff_s(attempt, self.jitter()))
            except LedgerConstraintViolated as violation:
                return Refusal(
                    RefusalCode.REJECTED_BY_LEDGER,
                    f"The books rejected the posting by {violation.constraint or 'a constraint'}: {violation}",
                    {"constraint": violation.constraint},
                )
        raise ConcurrencyRetryExhausted("the accounts could not be locked within the bounded retries")

    def _write(
        self, session: JournalSession, draft: Draft, held: list[QueuedIntent] | None, *, without_drains: bool
    ) -> Done | Refusal:
        """One posting transaction and its settle; with `held` None a dry run, which writes nothing.

        `without_drains`: the drains wait meanwhile. On a busy account they hold the row nearly always.
        """
        key = draft.entity_id, draft.order.external_id
        with session.posting_journal(without_drains=without_drains) as posting:
            balances, contended = posting.lock_balances(draft.account_ids)
            if contended:
                raise _Contended(contended)
            known, rejected = posting.known_outcomes([key, *(one.key for one in held or ())])
            if not rejected.isdisjoint(one.outbox_position.payment_id for one in held or ()):
                raise ConcurrencyRetryExhausted("the drain took the holds for abandoned")
            if key in known:
                return refuse_reused_by(draft.order, known[key].fingerprint)
            posted_at = posting.posting_time(balances)
            [head] = posting.heads.values()
            plan = plan_journal(draft, balances, head, posted_at)
            if isinstance(plan, Refusal):
                return plan
            if held is not None:
                posting.write(plan)
        [transaction] = transactions_from(plan.transactions, plan.entries)
        if held is not None:
            self.holds.settle(held, balances)
        return Done(transaction, is_dry_run=held is None)

    def _count(self, session: JournalSession, draft: Draft, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = (
            conflict.account_ids if isinstance(conflict, _Contended) else session.conflicts.accounts(draft.account_ids)
        )
        log.warning("%s %s: conflict: %s", draft.order.kind.value, draft.order.external_id, conflict)
        session.conflicts.count(sorted(hot) or ["(unknown)"], retries=1, exhausted=int(last))


def _locks(order: Order, entity_id: str) -> list[str]:
    """The names of an order's locks: its external id, so that repeats follow one another, and what it relates to."""
    locks = [f"external_id {entity_id} {order.external_id}"]
    related = [one for one in (order.relates_to, order.gives_back) if one is not None]
    return [*locks, *(f"relates_to {one}" for one in dict.fromkeys(related))]
