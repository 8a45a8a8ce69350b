"""Posting journals, reversals and refunds while the caller waits, under holds of the funds that they take.

A journal touches accounts of several partitions, so no single script call can decide it. It takes four steps:

1. Lock: advisory locks, first on the external id, then on the payment or journal that the order relates to. They are
   taken before the snapshot of the posting transaction, so a session that waited for one sees what its holder posted.
2. Hold: the cache holds the funds in every partition that guards one of the accounts, or in none.
3. Write: one transaction posts the journal to the ledger.
4. Settle: the cache gets the new balances and releases the holds.

A process that is killed in between leaves its holds in the outboxes. The drain leaves them alone for 30 seconds. Then
it settles them if the ledger has the journal, and rejects them if not. Its transaction and the one that posts are both
SERIALIZABLE, and each reads what the other writes, so at most one of them commits. A rejection belongs to one attempt,
whose id is part of the external ids of its holds; a retry is a new attempt and may succeed.

On a busy account the drains hold the row nearly always. From the fourth try on, a journal therefore takes the drains'
own locks first: it waits until they finish their turns, and they wait until it is posted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.audit import Action
from app.domain.errors import (
    ConcurrencyConflict,
    ConcurrencyRetryExhausted,
    LedgerConstraintViolated,
    LedgerUnavailable,
)
from app.domain.hash_chain import LedgerTransaction, transactions_from
from app.domain.journals import Draft, Order, hold_intents, is_repeat, plan_journal, refuse_reused_by
from app.domain.ledger_rows import QueuedIntent
from app.domain.origin import note_recorded
from app.domain.payment_refusals import rejected_by_constraint
from app.domain.refusals import Refusal
from app.services.accounts.directory import DirectorySnapshot
from app.services.payments.decide import Decider
from app.services.posting.contention import RETRIES, backoff_s
from app.services.posting.journal_holds import JournalHolds

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.journal_sessions import JournalSession, JournalSessions
    from app.ledger.transactions import LedgerTransactions


log = logging.getLogger(__name__)

TRIES_BESIDE_DRAINS = 3
"""Tries beside the drains. Later tries make the drains wait, which costs everybody more than a failed try."""

Drafting = Callable[[DirectorySnapshot], Draft | Refusal]
"""Makes the draft of an order from the accounts' facts, under the order's locks."""

Repeats = Callable[[Order, LedgerTransaction], bool]
"""Whether the ledger's transaction under an order's external id is what the order asks for."""


@dataclass(slots=True)
class PostedJournal:
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
    """Posts drafts, one at a time for each external id and for each payment or journal that an order relates to."""

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
    ) -> PostedJournal | Refusal:
        """Post what an order asks for, once; a repeat, as `is_repeat` recognises it, answers what was posted.

        Raises ConcurrencyRetryExhausted if the ledger could not lock the accounts; nothing was moved then.
        """
        known = self._known(order, entity_id, is_repeat)
        if known is not None:
            return known
        with self.ledger.session(_locks(order, entity_id)) as session:

            def attempt(snapshot: DirectorySnapshot) -> PostedJournal | Refusal:
                known = self._known(order, entity_id, is_repeat) or self._claimed(order, entity_id)
                return known or self._attempt(session, drafting(snapshot), snapshot, dry_run=dry_run)

            return self.decider.decide(attempt)

    # Recognising a repeat

    def _known(self, order: Order, entity_id: str, is_repeat: Repeats) -> PostedJournal | Refusal | None:
        """What the ledger has under this external id."""
        posted = self.register.by_external_id(entity_id, order.external_id)
        if posted is None:
            return None
        if not is_repeat(order, posted):
            return refuse_reused_by(order, posted.fingerprint)
        return PostedJournal(posted, replayed=True)

    def _claimed(self, order: Order, entity_id: str) -> Refusal | None:
        """The refusal of an external id that a payment has used, which may still be pending."""
        partition = self.cache.reservations.claimed_partition(entity_id, order.external_id)
        record = None if partition is None else self.cache.reservations.record(partition, entity_id, order.external_id)
        return None if record is None else refuse_reused_by(order, record.fingerprint)

    # One attempt

    def _attempt(
        self, session: JournalSession, draft: Draft | Refusal, snapshot: DirectorySnapshot, *, dry_run: bool
    ) -> PostedJournal | Refusal:
        if isinstance(draft, Refusal):
            self.decider.require_current_facts([draft], snapshot.version)
            return draft
        intents = hold_intents(draft, snapshot.facts(draft.account_ids), self.new_attempt_id())
        movement = draft.order.kind.value
        held = self.holds.hold(intents, snapshot.version, movement=movement, dry_run=dry_run)
        if isinstance(held, Refusal):
            return held
        return self._post_held(session, draft, held, dry_run=dry_run)

    def _post_held(
        self, session: JournalSession, draft: Draft, held: list[QueuedIntent], *, dry_run: bool
    ) -> PostedJournal | Refusal:
        """Post what is held, and release it if the ledger does not post."""
        if dry_run:
            return self._retried(session, draft, None)
        # After a fault that leaves the ledger's answer unknown, the holds stay: the drain asks the ledger later.
        try:
            outcome = self._retried(session, draft, held)
            if isinstance(outcome, Refusal):
                self.holds.release(held)
        except (ConcurrencyConflict, ConcurrencyRetryExhausted):
            self.holds.release(held)
            raise
        except LedgerUnavailable as fault:
            if fault.not_run:
                self.holds.release(held)
            raise
        finally:
            self.wake()  # payments accepted meanwhile found the outbox not empty, and did not wake the drain
        return outcome

    def _retried(
        self, session: JournalSession, draft: Draft, held: list[QueuedIntent] | None
    ) -> PostedJournal | Refusal:
        for attempt in range(RETRIES):
            try:
                return self._write(session, draft, held, without_drains=attempt >= TRIES_BESIDE_DRAINS)
            except ConcurrencyConflict as conflict:
                self._count(session, draft, conflict, last=attempt + 1 == RETRIES)
                self.sleep(backoff_s(attempt, self.jitter()))
            except LedgerConstraintViolated as violation:
                return rejected_by_constraint(violation.constraint, str(violation))
        raise ConcurrencyRetryExhausted("the accounts could not be locked within the bounded retries")

    def _write(
        self, session: JournalSession, draft: Draft, held: list[QueuedIntent] | None, *, without_drains: bool
    ) -> PostedJournal | Refusal:
        """One posting transaction and its settlement. If `held` is None it is a dry run, which writes nothing.

        With `without_drains` the drains wait meanwhile.
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
            [transaction] = transactions_from(plan.transactions, plan.entries)
            if held is not None:
                posting.write(plan)
                action = Action(draft.order.kind.value)
                posting.record_journal(action, draft.order.actor, *key, transaction.payment_id)
                if draft.approves is not None:
                    posting.approve(draft.approves, draft.order.actor, transaction.payment_id)
        if held is not None:
            note_recorded()
            self.holds.settle(held, balances)
        return PostedJournal(transaction, is_dry_run=held is None)

    def _count(self, session: JournalSession, draft: Draft, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = (
            conflict.account_ids if isinstance(conflict, _Contended) else session.conflicts.accounts(draft.account_ids)
        )
        log.warning("%s %s: conflict: %s", draft.order.kind.value, draft.order.external_id, conflict)
        session.conflicts.count(sorted(hot) or ["(unknown)"], retries=1, exhausted=int(last))


def _locks(order: Order, entity_id: str) -> list[str]:
    """The names of an order's locks: for its external id, and for the payment or journal that it relates to."""
    locks = [f"external_id {entity_id} {order.external_id}"]
    related = [one for one in (order.relates_to, order.gives_back) if one is not None]
    return [*locks, *(f"relates_to {one}" for one in dict.fromkeys(related))]
