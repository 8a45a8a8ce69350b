"""Reconciling: prove, at any time and under load, that the cache and the books say the same.

Exact without a pause, because nothing is compared across moments: a cached balance is compared with the ledger's
balance at the cache's own entry number, and what looks wrong between two reads is looked at again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from app.domain.decisions import InspectedAccount
from app.domain.partitions import PaymentPosition
from app.domain.payments import Kind
from app.domain.posting import QueuedIntent
from app.domain.proof import Break, BreakKind, ChainRange, ProofReport
from app.services.ports import ProofFunds, ReconcileBooks
from app.services.verify import Verifier

ACCOUNTS_AT_ONCE = 500
INTENTS_AT_ONCE = 500
"""How much is looked at in one call: a script blocks the cache's server."""


class Reconciler:
    """Runs reconciliations. Incremental runs cost as much as what is new; full ones look at everything."""

    def __init__(self, funds: ProofFunds, books: ReconcileBooks, monotonic: Callable[[], float]) -> None:
        self._funds = funds
        self._books = books
        self._monotonic = monotonic
        self._verifier = Verifier(books, monotonic)

    def run(self, *, full: bool) -> ProofReport:
        """One run; its breaks are kept in the books. `open_breaks` counts all that are not settled yet."""
        started = self._monotonic()
        report = ProofReport("full" if full else "incremental")
        report.run_id = self._books.begin_run(report.mode)
        ranges = self._books.ranges(full=full)
        report.breaks += self._book_breaks(ranges, report, full=full)
        report.breaks += self._books.trial_balance_breaks()
        for partition in range(self._funds.partitions):
            report.breaks += self._intent_breaks(partition, report)
        suspects: list[str] = []
        for partition, account_ids in self._accounts(ranges, full=full):
            report.breaks += self._cache_breaks(partition, account_ids, report, suspects)
        for part in ranges:
            report.breaks += self._verifier.chain_breaks(part, report)
        report.breaks += self._floor_breaks(suspects)
        report.open_breaks = self._books.finish_run(report.run_id, report, ranges, full=full)
        if not report.breaks:
            self._books.export_heads([part for part in ranges if part.up_to])
        report.seconds = self._monotonic() - started
        return report

    # The books by themselves

    def _book_breaks(self, ranges: Sequence[ChainRange], report: ProofReport, *, full: bool) -> Iterator[Break]:
        for part in ranges:
            yield from self._books.entry_breaks(part)
        if full:
            yield from self._books.balance_breaks()
        else:
            for account_ids in _chunks(self._touched(ranges), ACCOUNTS_AT_ONCE):
                report.count("accounts", len(account_ids))
                yield from self._books.touched_balance_breaks(account_ids)

    def _touched(self, ranges: Sequence[ChainRange]) -> list[str]:
        return sorted({account_id for part in ranges for account_id in self._books.touched(part)})

    # The cache against the books

    def _accounts(self, ranges: Sequence[ChainRange], *, full: bool) -> Iterator[tuple[int, Sequence[str]]]:
        if full:
            for partition in range(self._funds.partitions):
                for account_ids in self._funds.cached_accounts(partition, ACCOUNTS_AT_ONCE):
                    yield partition, account_ids
            return
        by_partition: dict[int, list[str]] = {}
        for account_id in self._touched(ranges):
            by_partition.setdefault(self._funds.partition_of(account_id), []).append(account_id)
        for partition, touched in by_partition.items():
            for chunk in _chunks(touched, ACCOUNTS_AT_ONCE):
                yield partition, chunk

    def _cache_breaks(
        self, partition: int, account_ids: Sequence[str], report: ProofReport, floor_suspects: list[str]
    ) -> Iterator[Break]:
        inspected = self._funds.inspect(partition, account_ids)
        report.count("cached_accounts", len(inspected))
        ledger = self._books.balances_at([(one.account_id, one.entry_count) for one in inspected])
        for one in inspected:
            entry_count, floor_minor, balance_minor = ledger[one.account_id]
            yield from self._balance_breaks(one, entry_count, balance_minor)
            if floor_minor != one.funds.floor_minor:
                floor_suspects.append(one.account_id)
            yield from self._hold_breaks(one)
        yield from self._unexplained_holds(partition, inspected)

    def _floor_breaks(self, suspects: Sequence[str]) -> Iterator[Break]:
        """Look again, at the end: a floor is not changed in both at once, so the first look may fall in between."""
        for account_id in suspects:
            ledger_floor = self._books.settled_floor(account_id)
            for one in self._funds.inspect(self._funds.partition_of(account_id), [account_id]):
                if one.funds.floor_minor != ledger_floor:
                    figures = {"cache_floor_minor": one.funds.floor_minor, "ledger_floor_minor": ledger_floor}
                    yield Break(BreakKind.CACHE_FLOOR, account_id, figures)

    def _balance_breaks(
        self, one: InspectedAccount, entry_count: int | None, balance_minor: int | None
    ) -> Iterator[Break]:
        figures = {
            "cache_balance_minor": one.funds.balance_minor,
            "ledger_balance_minor": balance_minor,
            "at_entry_number": one.entry_count,
        }
        if entry_count is None or entry_count < one.entry_count:
            yield Break(BreakKind.CACHE_AHEAD, one.account_id, figures | {"ledger_entry_count": entry_count})
        elif balance_minor != one.funds.balance_minor:
            yield Break(BreakKind.CACHE_BALANCE, one.account_id, figures)

    def _hold_breaks(self, one: InspectedAccount) -> Iterator[Break]:
        total = sum(amount for amount, _ in one.holds.values())
        if total != one.funds.held_minor:
            figures = {"held_minor": one.funds.held_minor, "sum_of_holds_minor": total}
            yield Break(BreakKind.HELD_NOT_SUM, one.account_id, figures)

    def _unexplained_holds(self, partition: int, inspected: Sequence[InspectedAccount]) -> Iterator[Break]:
        """Holds without an intent in the outbox must be open authorizations of the books."""
        suspects = {
            PaymentPosition(partition, position).payment_id: (one.account_id, amount)
            for one in inspected
            for position, (amount, has_intent) in one.holds.items()
            if not has_intent
        }
        authorized = self._books.open_authorizations(list(suspects)) if suspects else {}
        for payment_id, (account_id, amount) in suspects.items():
            if authorized.get(payment_id) != amount:
                figures = {"held_minor": amount, "authorized_minor": authorized.get(payment_id)}
                yield Break(BreakKind.HOLD_WITHOUT_INTENT, f"{account_id}#{payment_id}", figures)

    def _intent_breaks(self, partition: int, report: ProofReport) -> Iterator[Break]:
        after = "0"
        while page := self._funds.outbox(partition, after, INTENTS_AT_ONCE):
            report.count("intents", len(page))
            held = self._funds.witness(partition, page)
            suspects = [
                (queued, amount)
                for queued, amount in zip(page, held, strict=True)
                if amount is not None and amount != queued.intent.hold_minor and not _may_be_concluded(queued, amount)
            ]
            yield from self._confirmed(suspects)
            after = page[-1].place.position

    def _confirmed(self, suspects: Sequence[tuple[QueuedIntent, int]]) -> Iterator[Break]:
        """A settle frees holds a little before it trims: what the books have answered already is no break."""
        if not suspects:
            return
        settled = self._books.settled([queued.place.payment_id for queued, _ in suspects])
        for queued, amount in suspects:
            if queued.place.payment_id not in settled:
                figures = {"held_minor": amount, "intended_minor": queued.intent.hold_minor}
                yield Break(BreakKind.INTENT_WITHOUT_HOLD, queued.place.payment_id, figures)


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
