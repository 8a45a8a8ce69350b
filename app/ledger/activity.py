"""How much was posted and how fast, read from the chains.

A chain's transactions are numbered without a gap, and their times never run backwards. So the number of payments
between two moments is a difference of two positions, and bisection finds a position with some twenty look-ups by
primary key, however long the chain is. No index on time is needed, which posting would pay for.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select, text

from app.ledger.connections import translated
from app.ledger.schema import hold

_POSITIONS = text("""
WITH RECURSIVE search (partition, n, at, low, high) AS (
    SELECT p.partition, b.n, b.at, 0::bigint, p.chain_seq
    FROM partition p CROSS JOIN unnest(CAST(:moments AS timestamptz[])) WITH ORDINALITY AS b (at, n)
    UNION ALL
    SELECT s.partition, s.n, s.at, CASE WHEN t.posted_at < s.at THEN s.middle ELSE s.low END,
        CASE WHEN t.posted_at < s.at THEN s.high ELSE s.middle - 1 END
    FROM (SELECT partition, n, at, low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
    CROSS JOIN LATERAL (
        SELECT posted_at FROM ledger_transaction WHERE partition = s.partition AND chain_seq = s.middle OFFSET 0
    ) t
)
SELECT n, array_agg(low ORDER BY partition) FROM search WHERE low >= high GROUP BY n ORDER BY n
""")
_DELAYS = text("""
SELECT piece.n, percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY t.seconds)
FROM unnest(CAST(:numbers AS bigint[]), CAST(:partitions AS smallint[]), CAST(:lows AS bigint[]),
    CAST(:highs AS bigint[])) AS piece (n, partition, low, high)
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM posted_at - accepted_at)::float AS seconds FROM ledger_transaction
    WHERE partition = piece.partition AND chain_seq > piece.low AND chain_seq <= piece.high
        AND kind IN ('payment', 'capture')
    ORDER BY chain_seq DESC LIMIT :most
) t GROUP BY piece.n
""")

SAMPLED = 20
"""Transactions of one chain from which the time to posted is taken, for each piece of time."""


class LedgerActivity:
    """What was posted when."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def positions(self, moments: Sequence[datetime]) -> list[tuple[int, ...]]:
        """For each moment, how many transactions each chain had before it."""
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(_POSITIONS, {"moments": list(moments)}).all()
        return [tuple(positions) for _, positions in rows]

    def delays(self, pieces: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[int, tuple[float, float]]:
        """The median and 99th percentile of seconds from acceptance to posting, by the number of a piece.

        A piece reaches from one list of positions to another. Of each chain, its last transactions are taken.
        """
        rows = [
            (number, partition, low, high)
            for number, (lows, highs) in enumerate(pieces)
            for partition, (low, high) in enumerate(zip(lows, highs, strict=True))
            if low < high
        ]
        columns: list[list[int]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
        parameters: dict[str, Any] = dict(zip(("numbers", "partitions", "lows", "highs"), columns, strict=True))
        with translated(), self._engine.connect() as connection:
            found = connection.execute(_DELAYS, parameters | {"most": SAMPLED}).all()
        return {number: (median, high) for number, (median, high) in found}

    def held(self) -> dict[str, int]:
        """What open authorizations hold, in minor units by currency."""
        query = select(hold.c.currency_code, func.sum(hold.c.hold_minor)).where(hold.c.state == "authorized")
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query.group_by(hold.c.currency_code).order_by(hold.c.currency_code)).all()
        return {row[0]: int(row[1]) for row in rows}
