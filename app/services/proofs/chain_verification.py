"""How a proof goes through its steps: at once, or resting between them where payments go on beside it.

Reading what ten seconds of payments have left keeps Postgres and a worker at work for some tenths of a second. In one
piece, that was the time in which most of the slow answers fell.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from app.domain.breaks import Break, BreakKind, ChainRange, Head, ProofReport
from app.domain.errors import NothingProved
from app.domain.hash_chain import GENESIS_HASH, LedgerTransaction, chain_hash

if TYPE_CHECKING:
    from app.ledger.hash_chain import LedgerChains
    from app.services.proofs.signed_heads import HeadSigner


REST = 3.0
"""Rest so many times as long as the step took: a proof takes a quarter of one core."""

LONGEST_REST_S = 0.03
"""A step is a statement of some milliseconds. The rest after a long one is no longer, so that a proof ends."""

TRANSACTIONS_A_STEP = 500
"""Hashed by the database within a few milliseconds."""

T = TypeVar("T")


class Pace(Protocol):
    """A way through the steps of a proof."""

    @property
    def most(self) -> int:
        """Transactions in one step."""

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The same steps, each at its time."""

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do both, which do not meet; returns what the other one does."""


class AtOnce:
    """One step after the other, and on two connections beside each other."""

    most = sys.maxsize

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The steps."""
        return iter(steps)

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do the other one in a thread: the work is the database's, so threads are enough."""
        with ThreadPoolExecutor(1) as beside:
            result = beside.submit(other)
            work()
            return result.result()


class Leisure:
    """Short steps with a rest behind each, on one connection at a time."""

    most = TRANSACTIONS_A_STEP

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._monotonic = monotonic
        self._sleep = sleep

    def steps(self, steps: Iterable[T]) -> Iterator[T]:
        """The steps, with rests."""
        for step in steps:
            began = self._monotonic()
            yield step
            self._sleep(min(REST * (self._monotonic() - began), LONGEST_REST_S))

    def both(self, work: Callable[[], None], other: Callable[[], T]) -> T:
        """Do one after the other."""
        work()
        return other()


AT_ONCE = AtOnce()

TRANSACTIONS_AT_ONCE = 10_000
"""A piece: short for the database, and little to fetch when something in it is wrong."""


class ChainVerifier:
    """Verifies whole chains against their heads, the exported ones included."""

    def __init__(
        self,
        ledger: LedgerChains,
        monotonic: Callable[[], float],
        pace: Pace = AT_ONCE,
        signer: HeadSigner | None = None,
    ) -> None:
        """With a `signer`, the heads that it has signed are compared too."""
        self._ledger = ledger
        self._signer = signer
        self._monotonic = monotonic
        self._pace = pace

    def run(self, outside_heads: Sequence[Head] = ()) -> ProofReport:
        """Verify everything. `outside_heads` are exports kept outside of the database, which no one could cut there."""
        started = self._monotonic()
        is_begun = self._ledger.is_begun()
        ranges = self._ledger.ranges(full=True)
        report = ProofReport("verify")
        report.add(self.chains(ranges))
        report.breaks += self._ledger.exported_head_breaks(full=True)
        require_proof(report, is_begun=is_begun)
        report.breaks += self._ledger.outside_head_breaks(outside_heads)
        if self._signer is not None:
            report.breaks += self._signer.breaks()
        if not report.breaks:
            self._ledger.export_heads([part for part in ranges if part.up_to])
        report.open_breaks = len(report.breaks)
        report.seconds = self._monotonic() - started
        return report

    def heads(self) -> list[Head]:
        """The heads of all chains that have begun, as they are now."""
        return [(part.partition, part.up_to, part.last_hash) for part in self._ledger.ranges(full=True) if part.up_to]

    def chains(self, ranges: Iterable[ChainRange], into: ProofReport | None = None) -> ProofReport:
        """What was looked at in these ranges, and their breaks; counted `into` a report that somebody may watch."""
        report = ProofReport("chains") if into is None else into
        for part in ranges:
            report.breaks += self.chain_breaks(part, report)
        return report

    def chain_breaks(self, part: ChainRange, report: ProofReport) -> Iterator[Break]:
        """The breaks of one range; a chain that starts after its beginning trusts the hash it starts from."""
        start = self._ledger.chain_hash_at(part.partition, part.after) if part.after > 0 else GENESIS_HASH
        place = _Place(max(part.after, 0) + 1, start)
        for piece in self._pace.steps(part.pieces(min(TRANSACTIONS_AT_ONCE, self._pace.most))):
            if not self._recomputed(piece, place, report):
                yield from _walk(self._ledger.chain(piece), place, report)
            yield from self._ledger.time_breaks(piece)
        if place.chain_seq != part.up_to + 1 or place.previous_hash != part.last_hash:
            figures = {"expected_last_seq": part.up_to, "last_seq": place.chain_seq - 1}
            yield Break(BreakKind.CHAIN_LINK, f"{part.partition}/{part.up_to}", figures)
        yield from part.breaks()

    def _recomputed(self, piece: ChainRange, place: _Place, report: ProofReport) -> bool:
        """Whether the database finds the whole piece in order; then `place` is behind it."""
        if place.chain_seq != piece.after + 1:
            return False
        found = self._ledger.recomputed(piece, place.previous_hash)
        if found.in_order != piece.up_to - piece.after:
            return False
        report.count("transactions", found.transactions)
        report.count("entries", found.entries)
        place.chain_seq, place.previous_hash = piece.up_to + 1, found.last_hash
        return True


def require_proof(report: ProofReport, *, is_begun: bool) -> None:
    """Refuse a full run that looked at no transaction although there are some: it would pass for a proof."""
    if is_begun and not report.checked.get("transactions") and not report.breaks:
        raise NothingProved("There are ledger transactions, and this run has looked at none: it proves nothing.")


@dataclass(slots=True)
class _Place:
    """Where a walk along a chain stands: the number that must come next, and the hash that it must name."""

    chain_seq: int
    previous_hash: bytes | None


def _walk(transactions: Iterable[LedgerTransaction], place: _Place, report: ProofReport) -> Iterator[Break]:
    for transaction in transactions:
        report.count("transactions", 1)
        report.count("entries", len(transaction.entries))
        subject = f"{transaction.partition}/{transaction.chain_seq}"
        if transaction.chain_seq != place.chain_seq or transaction.previous_hash != place.previous_hash:
            figures = {"expected_seq": place.chain_seq, "found_seq": transaction.chain_seq}
            yield Break(BreakKind.CHAIN_LINK, subject, figures)
        if chain_hash(transaction) != transaction.hash:
            yield Break(BreakKind.CHAIN_HASH, subject, {"payment_id": transaction.payment_id})
        place.chain_seq, place.previous_hash = transaction.chain_seq + 1, transaction.hash
