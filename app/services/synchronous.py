"""Posting while the caller waits: hold the funds, write the books, settle the cache.

Nothing is told before it is in the books. Whatever breaks off in between is finished by the drain, which finds the
hold: the books then have the journal and the cache is settled, or they never will and the hold is released.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.entries import LedgerTransaction
from app.domain.faults import ConcurrencyConflict, ConcurrencyRetryExhausted, LedgerConstraintViolated
from app.domain.journals import Draft, Order, hold_intents, plan_journal, refuse_reused_by
from app.domain.posting import LedgerBalance, QueuedIntent
from app.domain.refusals import Refusal, RefusalCode
from app.services.contention import RETRIES, backoff_s
from app.services.directory import AccountDirectory, DirectorySnapshot
from app.services.holding import FundsMoved, Holding
from app.services.payments import PASSES
from app.services.ports.books import JournalRegister, OpenSession, SynchronousBooks
from app.services.ports.funds import JournalFunds

log = logging.getLogger(__name__)

PATIENT_TRIES = 3
"""Tries around the drains; after these they are made to wait, which costs everybody more than a try does."""

Drafting = Callable[[DirectorySnapshot], Draft | Refusal]
"""Makes the draft of an order, under its locks."""


@dataclass(slots=True)
class Done:
    """A journal, reversal or refund in the books; rehearsed, it would be so."""

    transaction: LedgerTransaction
    replayed: bool = False
    rehearsed: bool = False


class _Contended(ConcurrencyConflict):
    """Somebody else has locked some accounts."""

    def __init__(self, account_ids: set[str]) -> None:
        super().__init__("accounts are locked")
        self.account_ids = account_ids


@dataclass(slots=True)
class Poster:
    """Posts drafts, one operation at a time for each external id and each thing it relates to."""

    books: SynchronousBooks
    register: JournalRegister
    funds: JournalFunds
    holding: Holding
    directory: AccountDirectory
    is_outdated: Callable[[Sequence[object], int], bool]
    wake: Callable[[], None]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    new_attempt_id: Callable[[], str]

    def post(self, order: Order, entity_id: str, drafting: Drafting, *, dry_run: bool = False) -> Done | Refusal:
        """Post what an order asks for, once; a repeat answers what was posted.

        Raises ConcurrencyRetryExhausted where the books could not lock the accounts, with nothing moved.
        """
        known = self._known(order, entity_id)
        if known is not None:
            return known
        with self.books.session(_locks(order, entity_id)) as session:
            for _ in range(PASSES):
                known = self._known(order, entity_id) or self._claimed(order, entity_id)
                if known is not None:
                    return known
                snapshot = self.directory.snapshot()
                draft = drafting(snapshot)
                if isinstance(draft, Refusal):
                    if self.is_outdated([draft], snapshot.version):
                        continue
                    return draft
                outcome = self._attempt(session, draft, snapshot, dry_run=dry_run)
                if not isinstance(outcome, FundsMoved):
                    return outcome
        raise ConcurrencyRetryExhausted("the accounts keep changing; nothing was moved")

    # Recognising a repeat

    def _known(self, order: Order, entity_id: str) -> Done | Refusal | None:
        """What the books have under this external id."""
        posted = self.register.by_external_id(entity_id, order.external_id)
        if posted is None:
            return None
        if posted.fingerprint != order.fingerprint:
            return refuse_reused_by(order, posted.fingerprint)
        return Done(posted, replayed=True)

    def _claimed(self, order: Order, entity_id: str) -> Refusal | None:
        """The refusal of an external id that a payment has used, which may still be on its way to the books."""
        partition = self.funds.claimed_partition(entity_id, order.external_id)
        record = None if partition is None else self.funds.record(partition, entity_id, order.external_id)
        return None if record is None else refuse_reused_by(order, record.fingerprint)

    # One attempt

    def _attempt(
        self, session: OpenSession, draft: Draft, snapshot: DirectorySnapshot, *, dry_run: bool
    ) -> Done | Refusal | FundsMoved:
        intents = hold_intents(draft, snapshot.facts(draft.account_ids), self.new_attempt_id())
        held = self.holding.hold(intents, snapshot.version, dry_run=dry_run)
        if not isinstance(held, list):
            return held
        if dry_run:
            return self._retried(session, draft, None)
        # A fault that leaves the books' answer open leaves the holds too: the drain will ask.
        try:
            outcome = self._retried(session, draft, held)
            if isinstance(outcome, Refusal):
                self.holding.release(held)
        except (ConcurrencyConflict, ConcurrencyRetryExhausted):
            self.holding.release(held)
            raise
        finally:
            self.wake()  # payments that came meanwhile found the outbox not empty, and left the drain asleep
        return outcome

    def _retried(self, session: OpenSession, draft: Draft, held: list[QueuedIntent] | None) -> Done | Refusal:
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
        self, session: OpenSession, draft: Draft, held: list[QueuedIntent] | None, *, without_drains: bool
    ) -> Done | Refusal:
        """One posting transaction and its settle; `held` None rehearses it.

        On a busy account the drains hold the row nearly always; who has met them often enough has them wait.
        """
        key = draft.entity_id, draft.order.external_id
        with session.posting_journal(without_drains=without_drains) as posting:
            balances, contended = posting.lock_balances(draft.account_ids)
            if contended:
                raise _Contended(contended)
            known, rejected = posting.known_outcomes([key, *(one.key for one in held or ())])
            if not rejected.isdisjoint(one.place.payment_id for one in held or ()):
                raise ConcurrencyRetryExhausted("the drain took the holds for abandoned")
            if key in known:
                return refuse_reused_by(draft.order, known[key].fingerprint)
            posted_at = posting.posting_time(balances)
            [head] = posting.heads.values()
            plan = plan_journal(draft, balances, head, posted_at)
            if isinstance(plan, Refusal):
                return plan
            if held is not None:
                posting.write(plan, balances, posted_at)
        [transaction] = plan.transactions
        if held is not None:
            self._settle(held, balances)
        return Done(transaction, rehearsed=held is None)

    def _settle(self, held: Sequence[QueuedIntent], balances: dict[str, LedgerBalance]) -> None:
        self.holding.settle(held, balances)

    def _count(self, session: OpenSession, draft: Draft, conflict: ConcurrencyConflict, *, last: bool) -> None:
        hot = conflict.account_ids if isinstance(conflict, _Contended) else session.contended(draft.account_ids)
        log.warning("%s %s: conflict: %s", draft.order.kind.value, draft.order.external_id, conflict)
        session.count_conflicts(sorted(hot) or ["(unknown)"], retries=1, exhausted=int(last))


def _locks(order: Order, entity_id: str) -> list[str]:
    """The locks of an operation: its external id, so that repeats follow one another, and what it relates to."""
    locks = [f"external_id {entity_id} {order.external_id}"]
    return locks if order.relates_to is None else [*locks, f"relates_to {order.relates_to}"]
