"""Verifying: recompute every hash of every chain, from the tables alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from app.domain.entries import GENESIS_HASH, LedgerTransaction, chain_hash
from app.domain.proof import Break, BreakKind, ChainRange, ProofReport
from app.services.ports import ChainBooks

Head = tuple[int, int, bytes]
"""A partition, a place in its chain, and the hash there."""


class Verifier:
    """Verifies whole chains against their heads, the exported ones included."""

    def __init__(self, books: ChainBooks, monotonic: Callable[[], float]) -> None:
        self._books = books
        self._monotonic = monotonic

    def run(self, outside_heads: Sequence[Head] = ()) -> ProofReport:
        """Verify everything. `outside_heads` are exports kept outside of the database, which no one could cut there."""
        started = self._monotonic()
        report = ProofReport("verify")
        ranges = self._books.ranges(full=True)
        for part in ranges:
            report.breaks += self.chain_breaks(part, report)
        report.breaks += self._head_breaks([*self._books.exported_heads(), *outside_heads])
        if not report.breaks:
            self._books.export_heads([part for part in ranges if part.up_to])
        report.open_breaks = len(report.breaks)
        report.seconds = self._monotonic() - started
        return report

    def heads(self) -> list[Head]:
        """The heads of all chains that have begun, as they are now."""
        return [(part.partition, part.up_to, part.head_hash) for part in self._books.ranges(full=True) if part.up_to]

    def chain_breaks(self, part: ChainRange, report: ProofReport) -> list[Break]:
        """The breaks of one range; a chain that starts behind its beginning trusts the hash it starts from."""
        start = GENESIS_HASH if part.after == 0 else self._books.chain_hash_at(part.partition, part.after)
        return list(_walk(part, start, self._books.chain(part), report))

    def _head_breaks(self, heads: Iterable[Head]) -> Iterator[Break]:
        for partition, chain_seq, head_hash in heads:
            stored = self._books.chain_hash_at(partition, chain_seq)
            if stored != head_hash:
                yield Break(
                    BreakKind.CHAIN_HEAD,
                    f"{partition}/{chain_seq}",
                    {"exported_hash": head_hash.hex(), "stored_hash": stored.hex() if stored else None},
                )


def _walk(
    part: ChainRange, start: bytes | None, transactions: Iterable[LedgerTransaction], report: ProofReport
) -> Iterator[Break]:
    expected_seq, expected_hash = part.after + 1, start
    for transaction in transactions:
        report.count("transactions", 1)
        report.count("entries", len(transaction.entries))
        subject = f"{part.partition}/{transaction.chain_seq}"
        if transaction.chain_seq != expected_seq or transaction.previous_hash != expected_hash:
            figures = {"expected_seq": expected_seq, "found_seq": transaction.chain_seq}
            yield Break(BreakKind.CHAIN_LINK, subject, figures)
        if chain_hash(transaction) != transaction.hash:
            yield Break(BreakKind.CHAIN_HASH, subject, {"payment_id": transaction.payment_id})
        expected_seq, expected_hash = transaction.chain_seq + 1, transaction.hash
    if expected_seq != part.up_to + 1 or expected_hash != part.head_hash:
        tail: dict[str, object] = {"head_seq": part.up_to, "last_seq": expected_seq - 1}
        yield Break(BreakKind.CHAIN_HEAD, f"{part.partition}/{part.up_to}", tail)
