"""Verifying: recompute every hash of every chain, from the tables alone.

The database recomputes piece by piece, which is several times faster than fetching the rows. Only its assent counts: a
piece that it does not find in order is recomputed here, row by row, and that decides what is a break.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.domain.entries import GENESIS_HASH, LedgerTransaction, chain_hash
from app.domain.proof import Break, BreakKind, ChainRange, ProofReport
from app.services.leisure import AT_ONCE, Pace
from app.services.ports.books import ChainBooks

Head = tuple[int, int, bytes]
"""A partition, a place in its chain, and the hash there."""

TRANSACTIONS_AT_ONCE = 10_000
"""A piece: short for the database, and little to fetch when something in it is wrong."""


class Verifier:
    """Verifies whole chains against their heads, the exported ones included."""

    def __init__(self, books: ChainBooks, monotonic: Callable[[], float], pace: Pace = AT_ONCE) -> None:
        self._books = books
        self._monotonic = monotonic
        self._pace = pace

    def run(self, outside_heads: Sequence[Head] = ()) -> ProofReport:
        """Verify everything. `outside_heads` are exports kept outside of the database, which no one could cut there."""
        started = self._monotonic()
        report = ProofReport("verify")
        ranges = self._books.ranges(full=True)
        report.add(self.chains(ranges))
        report.breaks += self._head_breaks([*self._books.exported_heads(), *outside_heads])
        if not report.breaks:
            self._books.export_heads([part for part in ranges if part.up_to])
        report.open_breaks = len(report.breaks)
        report.seconds = self._monotonic() - started
        return report

    def heads(self) -> list[Head]:
        """The heads of all chains that have begun, as they are now."""
        return [(part.partition, part.up_to, part.head_hash) for part in self._books.ranges(full=True) if part.up_to]

    def chains(self, ranges: Iterable[ChainRange]) -> ProofReport:
        """What was looked at in these ranges, and their breaks."""
        report = ProofReport("chains")
        for part in ranges:
            report.breaks += self.chain_breaks(part, report)
        return report

    def chain_breaks(self, part: ChainRange, report: ProofReport) -> Iterator[Break]:
        """The breaks of one range; a chain that starts behind its beginning trusts the hash it starts from."""
        start = GENESIS_HASH if part.after == 0 else self._books.chain_hash_at(part.partition, part.after)
        place = _Place(part.after + 1, start)
        for piece in self._pace.steps(part.pieces(min(TRANSACTIONS_AT_ONCE, self._pace.most))):
            if not self._recomputed(piece, place, report):
                yield from _walk(self._books.chain(piece), place, report)
        if place.chain_seq != part.up_to + 1 or place.previous_hash != part.head_hash:
            tail: dict[str, object] = {"head_seq": part.up_to, "last_seq": place.chain_seq - 1}
            yield Break(BreakKind.CHAIN_HEAD, f"{part.partition}/{part.up_to}", tail)

    def _recomputed(self, piece: ChainRange, place: "_Place", report: ProofReport) -> bool:
        """Whether the database finds the whole piece in order; then `place` is behind it."""
        if place.chain_seq != piece.after + 1:
            return False
        found = self._books.recomputed(piece, place.previous_hash)
        if found.in_order != piece.up_to - piece.after:
            return False
        report.count("transactions", found.transactions)
        report.count("entries", found.entries)
        place.chain_seq, place.previous_hash = piece.up_to + 1, found.last_hash
        return True

    def _head_breaks(self, heads: Iterable[Head]) -> Iterator[Break]:
        for partition, chain_seq, head_hash in heads:
            stored = self._books.chain_hash_at(partition, chain_seq)
            if stored != head_hash:
                yield Break(
                    BreakKind.CHAIN_HEAD,
                    f"{partition}/{chain_seq}",
                    {"exported_hash": head_hash.hex(), "stored_hash": stored.hex() if stored else None},
                )


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
