"""Looking for ledger transactions by time and amount.

The chains are in the order of time, so no index is needed that posting would pay for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text

from app.domain.payment_search import FoundTransaction
from app.ledger.connections import translated

LOOKED_AT = 2_000
"""Transactions of each chain that a search for an amount looks at, the newest first."""

_FOUND = """
SELECT t.payment_id, t.external_id, t.entity_id, t.kind, t.description, t.posted_at, legs.account_ids,
    legs.currency_codes, legs.amounts
FROM (
    SELECT t.* FROM unnest(CAST(:partitions AS smallint[]), CAST(:lows AS bigint[]), CAST(:highs AS bigint[]))
        AS piece (partition, low, high)
    <which>
    ORDER BY t.posted_at DESC, t.payment_id LIMIT :most
) t
CROSS JOIN LATERAL (
    SELECT array_agg(e.account_id ORDER BY e.leg) AS account_ids,
        array_agg(e.currency_code ORDER BY e.leg) AS currency_codes, array_agg(e.amount_minor ORDER BY e.leg) AS amounts
    FROM entry e WHERE e.partition = t.partition AND e.chain_seq = t.chain_seq
) legs
ORDER BY t.posted_at DESC, t.payment_id
"""
_THE_LATEST = """
    CROSS JOIN LATERAL (
        SELECT l.* FROM ledger_transaction l
        WHERE l.partition = piece.partition AND l.chain_seq > piece.low AND l.chain_seq <= piece.high
            AND (CAST(:entity_id AS text) IS NULL OR l.entity_id = :entity_id)
        ORDER BY l.chain_seq DESC LIMIT :most
    ) t
"""
# The plain comparison with all amounts comes first: it is all that most entries cost.
_THOSE_OF_AN_AMOUNT = """
    CROSS JOIN LATERAL (
        SELECT DISTINCT e.chain_seq FROM (
            SELECT chain_seq, currency_code, amount_minor FROM entry
            WHERE partition = piece.partition AND chain_seq > greatest(piece.low, piece.high - :looked_at)
                AND chain_seq <= piece.high AND amount_minor = ANY(CAST(:signed AS bigint[]))
            OFFSET 0
        ) e
        JOIN unnest(CAST(:codes AS text[]), CAST(:minors AS bigint[])) AS wanted (code, minor)
            ON e.currency_code = wanted.code AND e.amount_minor IN (wanted.minor, -wanted.minor)
        ORDER BY e.chain_seq DESC LIMIT :most
    ) hit
    JOIN ledger_transaction t ON t.partition = piece.partition AND t.chain_seq = hit.chain_seq
        AND (CAST(:entity_id AS text) IS NULL OR t.entity_id = :entity_id)
"""


class LedgerPaymentSearch:
    """Finds transactions between positions of the chains."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def between(
        self,
        lows: Sequence[int],
        highs: Sequence[int],
        *,
        amounts: Mapping[str, int] | None,
        entity_id: str | None,
        limit: int,
    ) -> list[FoundTransaction]:
        """Up to `limit` transactions after the positions `lows` up to `highs`, the newest first.

        With `amounts`, minor units by currency, those that move such an amount on an account; then only the last
        LOOKED_AT transactions of each chain are looked at.
        """
        parameters: dict[str, Any] = {
            "partitions": list(range(len(lows))),
            "lows": list(lows),
            "highs": list(highs),
            "entity_id": entity_id,
            "most": limit,
        }
        if amounts is not None:
            minors = list(amounts.values())
            signed = sorted({sign * minor for minor in minors for sign in (1, -1)})
            parameters |= {"codes": list(amounts), "minors": minors, "signed": signed, "looked_at": LOOKED_AT}
        which = _THE_LATEST if amounts is None else _THOSE_OF_AN_AMOUNT
        query = text(_FOUND.replace("<which>", which))
        with translated(), self._engine.connect() as connection:
            return [FoundTransaction(*row) for row in connection.execute(query, parameters)]
