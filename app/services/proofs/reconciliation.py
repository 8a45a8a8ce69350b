"""Reconciling: prove, at any time and under load, that the cache and the ledger say the same.

Exact without a pause, because nothing is compared across moments: a cached balance is compared with the ledger's
balance at the cache's own entry number, and what looks wrong between two reads is looked at again. A cache that stays
behind would agree with itself for ever, so that is a break of its own, which the run corrects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from app.domain.breaks import OF_THE_CACHE, Break, BreakKind, ChainRange, ProofReport, expected_of
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import Kind, OutboxPosition
from app.domain.reservations import InspectedAccount
from app.services.proofs.chain_verification import AT_ONCE, ChainVerifier, Pace, require_proof
from app.services.proofs.repair import CacheRebuild
from app.services.proofs.second_look import MOST_OPEN, SecondLook, without_repeats

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.reconciliation import LedgerReconciliation
    from app.services.proofs.progress import RunProgress


ACCOUNTS_AT_ONCE = 500
"""How many are looked at in one call: a script blocks the cache's server."""

HEALING_REASON = "the cache had stayed behind the ledger"


class Reconciler:
    """Runs reconciliations. Incremental runs cost as much as what is new; full ones look at everything."""

    def __init__(
        self,
        cache: Cache,
        ledger: LedgerReconciliation,
        verifier: ChainVerifier,
        monotonic: Callable[[], float],
        pace: Pace = AT_ONCE,
        progress: RunProgress | None = None,
    ) -> None:
        """The verifier works beside all else, so its ledger needs a connection of its own."""
        self._cache = cache
        self._ledger = ledger
        self._records = ledger.records
        self._rebuild = CacheRebuild(cache, ledger)
        self._verifier = verifier
        self._monotonic = monotonic
        self._pace = pace
        self._progress = progress
        self._proved: dict[int, int] = {}
        """Up to where the last run of this process has looked: anybody who can write to the database can move it."""

    def run(self, *, full: bool, heal: bool = True, asked_by: str | None = None) -> ProofReport:
        """One run; its breaks are kept in the ledger. `open_breaks` counts all that are not settled yet.

        Accounts that lag behind the ledger in the cache are rebuilt, unless the run must not `heal` them. A run that
        nobody asked for was due.
        """
        started = self._monotonic()
        report, chains = ProofReport("full" if full else "incremental"), ProofReport("chains")
        is_begun = self._ledger.is_begun()
        ranges = [self._unproved(part) for part in self._ledger.ranges(full=full)]
        report.run_id = self._records.begin_run(report.mode, asked_by, expected_of(ranges))
        again = SecondLook([] if full else self._records.open_breaks(MOST_OPEN))
        if self._progress is not None:
            self._progress.begin(report.run_id, (report, chains))
        compare = partial(self._compare, ranges, report, again, full=full)
        report.add(self._pace.both(compare, partial(self._verifier.chains, ranges, into=chains)))
        report.breaks = without_repeats(report.breaks)
        if self._progress is not None:
            self._progress.end()
        if full:
            require_proof(report, is_begun=is_begun)
        if heal:
            self._heal(report.run_id, report)
        report.open_breaks = self._records.finish_run(report.run_id, report, ranges, full=full, looked_at=again.done)
        self._proved = {part.partition: part.up_to for part in ranges}
        if not report.breaks:
            self._ledger.export_heads([part for part in ranges if part.up_to])
        report.seconds = self._monotonic() - started
        return report

    def _unproved(self, part: ChainRange) -> ChainRange:
        """The range from where this process's last run ended, if the cursor says that more is proved."""
        return replace(part, after=min(part.after, self._proved.get(part.partition, part.after)))

    def _compare(self, ranges: Sequence[ChainRange], report: ProofReport, again: SecondLook, *, full: bool) -> None:
        """The ledger with itself, then the cache with the ledger."""
        new = () if full else {one for part in self._pieces(ranges) for one in self._ledger.touched(part)}
        touched = sorted(again.accounts().union(new))
        report.breaks += self._ledger_breaks(ranges, touched, report, full=full)
        report.breaks += again.in_ledger(self._ledger)
        report.breaks += self._ledger.stray_entries(ranges)
        report.breaks += self._ledger.trial_balance_breaks()
        report.breaks += self._ledger.exported_head_breaks(full=full)
        suspects = _Suspects()
        batches = self._cache.inspection.cached_accounts(ACCOUNTS_AT_ONCE) if full else self._by_partition(touched)
        for partition, account_ids in self._pace.steps(batches):
            report.breaks += self._cache_breaks(partition, account_ids, report, suspects)
        for partition in self._pace.steps(range(self._cache.partitions)):
            report.breaks += self._intent_breaks(partition, report, suspects)
        report.breaks += self._behind_breaks(suspects.behind)
        report.breaks += self._floor_breaks(suspects.floors)
        report.breaks += self._hold_breaks(suspects.holds)

    def _pieces(self, ranges: Sequence[ChainRange]) -> Iterator[ChainRange]:
        return self._pace.steps(piece for part in ranges for piece in part.pieces(self._pace.most))

    # The ledger by itself

    def _ledger_breaks(
        self, ranges: Sequence[ChainRange], touched: Sequence[str], report: ProofReport, *, full: bool
    ) -> Iterator[Break]:
        for part in self._pieces(ranges):
            yield from self._ledger.transaction_breaks(part)
        if full:
            yield from self._ledger.account_breaks()
            yield from self._ledger.cross_breaks()
            return
        yield from self._ledger.running_breaks(ranges)
        for account_ids in self._pace.steps(_chunks(touched, ACCOUNTS_AT_ONCE)):
            report.count("accounts", len(account_ids))
            yield from self._ledger.touched_balance_breaks(account_ids)

    # The cache against the ledger

    def _by_partition(self, account_ids: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        by_partition: dict[int, list[str]] = {}
        for account_id in account_ids:
            by_partition.setdefault(self._cache.partition_of(account_id), []).append(account_id)
        for partition, listed in by_partition.items():
            for chunk in _chunks(listed, ACCOUNTS_AT_ONCE):
                yield partition, chunk

    def _cache_breaks(
        self, partition: int, account_ids: Sequence[str], report: ProofReport, suspects: _Suspects
    ) -> Iterator[Break]:
        inspected = self._cache.inspection.inspect(partition, account_ids)
        report.count("cached_accounts", len(inspected))
        ledger = self._ledger.balances_at([(one.account_id, one.entry_count) for one in inspected])
        for one in inspected:
            entry_count, floor_minor, balance_minor = ledger[one.account_id]
            yield from self._balance_breaks(one, entry_count, balance_minor)
            if entry_count is not None and entry_count > one.entry_count:
                suspects.behind[one.account_id] = entry_count
            if floor_minor != one.funds.floor_minor:
                suspects.floors.append(one.account_id)
            yield from self._held_breaks(one)
        suspects.holds += self._unmatched(partition, inspected)

    def _behind_breaks(self, suspects: Mapping[str, int]) -> Iterator[Break]:
        """Look again, at the end. A settle trims an intent only after it has told every account of it.

        So what the ledger had posted at the first look is in the cache by now, or an intent that touches the account
        was still in an outbox after that look: those were left out of `suspects`, accounts with the ledger's entry
        count then. Nothing on its way will bring the others up to it.
        """
        for partition, account_ids in self._by_partition(sorted(suspects)):
            for one in self._cache.inspection.inspect(partition, account_ids):
                if one.entry_count < suspects[one.account_id]:
                    figures = {"at_entry_number": one.entry_count, "cache_balance_minor": one.funds.balance_minor}
                    figures["ledger_entry_count"] = suspects[one.account_id]
                    yield Break(BreakKind.CACHE_BEHIND, one.account_id, figures, one.account_id)

    def _heal(self, run_id: int, report: ProofReport) -> None:
        """Rebuild accounts that lag behind, unless more is wrong with them or the ledger is in doubt."""
        wrong = {one.subject for one in report.breaks if one.kind is not BreakKind.CACHE_BEHIND}
        behind = [one for one in report.breaks if one.kind is BreakKind.CACHE_BEHIND and one.subject not in wrong]
        in_doubt = any(one.kind not in OF_THE_CACHE for one in report.breaks)
        if not behind or in_doubt or self._records.is_in_doubt():
            return
        for one in behind:
            self._records.record_healing(run_id, one, HEALING_REASON)
            self._rebuild.rebuild(one.subject)
            self._records.record_healed(run_id, one)
            report.breaks.remove(one)
            report.healed.append(one)

    def _floor_breaks(self, suspects: Sequence[str]) -> Iterator[Break]:
        """Look again, at the end: a floor is not changed in both at once, so the first look may fall in between."""
        for account_id in suspects:
            ledger_floor = self._ledger.settled_floor(account_id)
            for one in self._cache.inspection.inspect(self._cache.partition_of(account_id), [account_id]):
                if one.funds.floor_minor != ledger_floor:
                    figures = {"cache_floor_minor": one.funds.floor_minor, "ledger_floor_minor": ledger_floor}
                    yield Break(BreakKind.CACHE_FLOOR, account_id, figures, account_id)

    def _balance_breaks(
        self, one: InspectedAccount, entry_count: int | None, balance_minor: int | None
    ) -> Iterator[Break]:
        figures = {
            "cache_balance_minor": one.funds.balance_minor,
            "ledger_balance_minor": balance_minor,
            "at_entry_number": one.entry_count,
        }
        if entry_count is None or entry_count < one.entry_count:
            figures["ledger_entry_count"] = entry_count
            yield Break(BreakKind.CACHE_AHEAD, one.account_id, figures, one.account_id)
        elif balance_minor != one.funds.balance_minor:
            yield Break(BreakKind.CACHE_BALANCE, one.account_id, figures, one.account_id)

    def _held_breaks(self, one: InspectedAccount) -> Iterator[Break]:
        total = sum(amount for amount, _ in one.holds.values())
        if total != one.funds.held_minor:
            figures = {"held_minor": one.funds.held_minor, "sum_of_holds_minor": total}
            yield Break(BreakKind.HELD_NOT_SUM, one.account_id, figures, one.account_id)

    # Holds against open authorizations

    def _unmatched(self, partition: int, inspected: Sequence[InspectedAccount]) -> list[_Unmatched]:
        """Holds without an intent must be open authorizations of the ledger, and these must have their holds."""
        authorized = self._ledger.open_authorizations([one.account_id for one in inspected])
        return [
            unmatched
            for one in inspected
            for unmatched in _compared(partition, one, authorized.get(one.account_id, {}))
        ]

    def _hold_breaks(self, suspects: Sequence[_Unmatched]) -> Iterator[Break]:
        """Look again, at the end. A conclusion takes the hold away before the ledger knows of it.

        A hold that the ledger did not know before this look was not on its way to it: its intent had left the
        outbox by then, and that happens after the commit. An authorization that was in the ledger before this look,
        and has no hold in it, was concluded, or has lost it. A conclusion is in the outbox until the ledger has it;
        so if it is not there, and afterwards the ledger still says authorized, there is none.
        """
        first = {(one.payment_id, one.is_missing) for one in suspects}
        for partition, account_ids in self._by_partition(sorted({one.account_id for one in suspects})):
            seen = self._cache.inspection.inspect(partition, account_ids)
            concluding = self._cache.outbox.concluding(partition)
            for again in self._unmatched(partition, seen):
                is_concluded = again.is_missing and again.payment_id in concluding
                if (again.payment_id, again.is_missing) in first and not is_concluded:
                    yield again.as_break()

    def _intent_breaks(self, partition: int, report: ProofReport, suspects: _Suspects) -> Iterator[Break]:
        """Intents without their holds; and what an intent touches, its settle will tell, so it is not left behind."""
        for page in self._cache.outbox.pages(partition):
            report.count("intents", len(page))
            if suspects.behind:
                for account_id in {account_id for queued in page for account_id in queued.account_ids}:
                    suspects.behind.pop(account_id, None)
            unheld = [
                (queued, held_minor)
                for queued, held_minor in self._cache.inspection.witness(partition, page)
                if not _may_be_concluded(queued, held_minor)
            ]
            yield from self._confirmed(unheld)

    def _confirmed(self, suspects: Sequence[tuple[QueuedIntent, int]]) -> Iterator[Break]:
        """A settle frees holds a little before it trims: what the ledger has answered already is no break."""
        if not suspects:
            return
        settled = self._ledger.settled([queued.outbox_position.payment_id for queued, _ in suspects])
        for queued, amount in suspects:
            if queued.outbox_position.payment_id not in settled:
                figures = {"held_minor": amount, "intended_minor": queued.intent.hold_minor}
                payment_id, account_id = queued.outbox_position.payment_id, queued.intent.guarded_account_id
                yield Break(BreakKind.INTENT_WITHOUT_HOLD, payment_id, figures, account_id)


@dataclass(slots=True)
class _Unmatched:
    """An amount held in the cache beside the amount authorized in the ledger, where they differ; None is neither."""

    account_id: str
    payment_id: str
    held_minor: int | None
    authorized_minor: int | None

    @property
    def is_missing(self) -> bool:
        return self.held_minor is None

    def as_break(self) -> Break:
        kind = BreakKind.AUTHORIZATION_WITHOUT_HOLD if self.is_missing else BreakKind.HOLD_WITHOUT_INTENT
        figures = {"held_minor": self.held_minor, "authorized_minor": self.authorized_minor}
        return Break(kind, f"{self.account_id}#{self.payment_id}", figures, self.account_id)


@dataclass(slots=True)
class _Suspects:
    """What looks wrong in one pass over the cache, and must be looked at again."""

    floors: list[str] = field(default_factory=list)
    behind: dict[str, int] = field(default_factory=dict)
    """Accounts whose cache is behind, with the ledger's entry count at that look."""
    holds: list[_Unmatched] = field(default_factory=list)


def _compared(partition: int, one: InspectedAccount, authorized: Mapping[str, int]) -> Iterator[_Unmatched]:
    held = {
        OutboxPosition(partition, stream_id).payment_id: (amount, has_intent)
        for stream_id, (amount, has_intent) in one.holds.items()
    }
    for payment_id, (amount, has_intent) in held.items():
        if not has_intent and authorized.get(payment_id) != amount:
            yield _Unmatched(one.account_id, payment_id, amount, authorized.get(payment_id))
    for payment_id, amount in authorized.items():
        if payment_id not in held:
            yield _Unmatched(one.account_id, payment_id, None, amount)


def _may_be_concluded(queued: QueuedIntent, held_minor: int) -> bool:
    """An authorization can be captured or voided while its intent is still to be posted; its hold is gone then."""
    return queued.intent.kind == Kind.AUTHORIZATION and held_minor == 0


def _chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
