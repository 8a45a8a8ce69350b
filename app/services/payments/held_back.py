"""Payments that lack funds, refused but not recorded by the cache, because the balance would do with nothing held.

Only what open authorizations hold can come free: they are voided, expire, or are captured in part. If they explain a
refusal, it may be retried; if one is past its time, it is released, and the payment is decided again. What pending
payments hold is spent, so a refusal that they explain is final, and is recorded like one that the balance explains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from app.domain.authorizations import OpenAuthorizations
from app.domain.errors import Fault
from app.domain.money import MAX_MINOR
from app.domain.refusals import Refusal
from app.domain.reservations import Decision, Record, RecordState, ReserveItem
from app.services.payments.coalescing import CoalescedLookUp
from app.services.payments.decide import NotReady
from app.services.payments.outcomes import Outcome, Outcomes, refuse_funds

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.transactions import LedgerAuthorizations


log = logging.getLogger(__name__)

Refused = tuple[ReserveItem, Decision]
"""A payment that lacks funds, and the cache's decision with the funds on which it was refused."""

NONE_OPEN = OpenAuthorizations(0, is_due=False)


class HeldBack:
    """Decides which refusals are final, and records those."""

    def __init__(
        self,
        cache: Cache,
        ledger: LedgerAuthorizations,
        outcomes: Outcomes,
        release_due: Callable[[Collection[str]], int],
    ) -> None:
        """`release_due`: see `Authorizations.release_due`."""
        self._cache = cache
        self._open_on = CoalescedLookUp(ledger.open_on)
        self._outcomes = outcomes
        self._release_due = release_due

    def may_come_free(self, refused: Sequence[Refused]) -> list[bool]:
        """Whether open authorizations hold what each payment lacks.

        Raises NotReady once some that were past their time are released: decide again.
        """
        open_on = self._open_authorizations({item.intent.guarded_account_id for item, _ in refused})
        due = [account_id for account_id, found in open_on.items() if found.is_due]
        if due and self._release_due(due):
            raise NotReady
        return [_may_come_free(item, decision, open_on) for item, decision in refused]

    def answers(self, refused: Sequence[Refused], *, dry_run: bool = False) -> list[Outcome]:
        """The answers to refused payments, in their order; final refusals are recorded, but not by a dry run.

        If an external id has got a record since the decision, that record is the answer. Raises NotReady as
        `may_come_free` does.
        """
        free = self.may_come_free(refused)
        final = [one for one, may_come_free in zip(refused, free, strict=True) if not may_come_free]
        records = iter(_dry_records(final) if dry_run else self._record(final))
        return [
            _refusal(item, decision) if may_come_free else self._final(item, decision, next(records))
            for (item, decision), may_come_free in zip(refused, free, strict=True)
        ]

    def _open_authorizations(self, account_ids: set[str]) -> Mapping[str, OpenAuthorizations]:
        """What open authorizations hold on these accounts; the cache answers while the ledger is out of reach."""
        try:
            found = self._open_on.ask(sorted(account_ids))
        except Fault as fault:
            log.warning("ledger not reachable, the cache alone says what is authorized: %s", fault)
            settled = self._cache.inspection.settled_holds(account_ids)
            return {one: OpenAuthorizations(settled.get(one, MAX_MINOR), is_due=False) for one in account_ids}
        return {one: found.get(one, NONE_OPEN) for one in account_ids}

    def _record(self, final: Sequence[Refused]) -> list[Record | None]:
        return self._cache.reservations.record_refusals(final) if final else []

    def _final(self, item: ReserveItem, decision: Decision, record: Record | None) -> Outcome:
        if record is None:
            return _refusal(item, decision, is_final=True)
        partition = self._cache.partition_of(item.intent.guarded_account_id)
        return self._outcomes.of_record(partition, item.intent, record)


def _may_come_free(item: ReserveItem, decision: Decision, open_on: Mapping[str, OpenAuthorizations]) -> bool:
    assert decision.funds is not None
    authorized_minor = open_on[item.intent.guarded_account_id].held_minor
    return decision.funds.would_do_without(authorized_minor, item.intent.hold_minor)


def _refusal(item: ReserveItem, decision: Decision, *, is_final: bool = False) -> Refusal:
    assert decision.funds is not None
    return refuse_funds(decision.code, item, decision.funds, is_recorded=is_final)


def _dry_records(final: Sequence[Refused]) -> list[Record | None]:
    """The records that a real run would meet: those of the same run."""
    records: dict[tuple[str, str], Record] = {}
    met: list[Record | None] = []
    for item, decision in final:
        key = (item.intent.entity_id, item.intent.external_id)
        met.append(records.get(key))
        records.setdefault(key, Record(item.intent.fingerprint, RecordState.REFUSED, funds=decision.funds))
    return met
