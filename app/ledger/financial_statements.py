"""Balance sheet and income statement as the ledger has them: totals of all types, and the accounts of the result.

By posted time, what an account had come to at a moment stands in its last entry before it, and bisection finds that
entry: some twenty look-ups by primary key, however many entries there are. By the time of effect, entries are added up.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.domain.financial_statements import RESULT_TYPES, Period, ResultAccount
from app.domain.read_models import LedgerMoment, TimeBasis
from app.domain.trial_balance import TypeTotal
from app.ledger.connections import translated
from app.ledger.history import moment_of
from app.ledger.snapshots import one_snapshot
from app.ledger.trial_balance import KnownTotals, totals_as_of, totals_now

_WANTED = """
    SELECT a.account_id, a.entity_id, a.type, a.currency_code, b.entry_count, b.normal_sign, b.balance_minor
    FROM account a CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = a.account_id OFFSET 0) b
    WHERE a.type = ANY(:types) AND b.entry_count > 0
        AND (CAST(:entity_id AS text) IS NULL OR a.entity_id = :entity_id)
        AND (CAST(:entities AS text[]) IS NULL OR a.entity_id = ANY(CAST(:entities AS text[])))
        AND (CAST(:currency_code AS text) IS NULL OR a.currency_code = :currency_code)
"""
_BY_POSTED_TIME = text(f"""
WITH RECURSIVE wanted AS MATERIALIZED ({_WANTED}), search (account_id, n, at, low, high) AS (
    SELECT w.account_id, m.n, m.at, CASE WHEN m.n = 2 AND m.at IS NULL THEN w.entry_count ELSE 0 END,
        CASE WHEN m.n = 1 AND m.at IS NULL THEN 0 ELSE w.entry_count END
    FROM wanted w CROSS JOIN (VALUES (1, CAST(:begins AS timestamptz)), (2, CAST(:ends AS timestamptz))) AS m (n, at)
    UNION ALL
    SELECT s.account_id, s.n, s.at, CASE WHEN e.posted_at < s.at THEN s.middle ELSE s.low END,
        CASE WHEN e.posted_at < s.at THEN s.high ELSE s.middle - 1 END
    FROM (SELECT account_id, n, at, low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
    CROSS JOIN LATERAL (
        SELECT posted_at FROM entry WHERE account_id = s.account_id AND entry_number = s.middle OFFSET 0
    ) e
)
SELECT w.account_id, w.entity_id, w.type, w.currency_code,
    coalesce((SELECT balance_minor FROM entry WHERE account_id = w.account_id AND entry_number = o.low), 0),
    coalesce((SELECT balance_minor FROM entry WHERE account_id = w.account_id AND entry_number = c.low), 0),
    w.balance_minor
FROM wanted w
JOIN search o ON o.account_id = w.account_id AND o.n = 1 AND o.low >= o.high
JOIN search c ON c.account_id = w.account_id AND c.n = 2 AND c.low >= c.high
""")  # noqa: S608 - nothing of a request is in it
_BY_EFFECTIVE_TIME = text(f"""
WITH wanted AS MATERIALIZED ({_WANTED})
SELECT w.account_id, w.entity_id, w.type, w.currency_code,
    coalesce(sum(w.normal_sign * e.amount_minor) FILTER (WHERE t.effective_at < CAST(:begins AS timestamptz)), 0),
    coalesce(sum(w.normal_sign * e.amount_minor) FILTER (WHERE CAST(:ends AS timestamptz) IS NULL
        OR t.effective_at < CAST(:ends AS timestamptz)), 0),
    w.balance_minor
FROM wanted w JOIN entry e USING (account_id)
JOIN ledger_transaction t ON t.partition = e.partition AND t.chain_seq = e.chain_seq
GROUP BY w.account_id, w.entity_id, w.type, w.currency_code, w.balance_minor
""")  # noqa: S608 - nothing of a request is in it


class LedgerFinancialStatements:
    """Reads both statements from one snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def moment(self) -> LedgerMoment:
        """How far the ledger has come."""
        with translated(), self._engine.connect() as connection:
            return moment_of(connection)

    def read(
        self,
        period: Period,
        known: KnownTotals | None,
        *,
        entity_id: str | None,
        currency_code: str | None,
        entities: Collection[str] | None,
    ) -> tuple[KnownTotals | None, LedgerMoment, list[TypeTotal], list[ResultAccount]]:
        """Totals of all types at the end of a period, and the accounts of the result.

        The totals of now may be given back as `known` the next time; a period that has ended leaves them as they are.
        With `entities` only their accounts count.
        """
        which: dict[str, Any] = {"entity_id": entity_id, "currency_code": currency_code, "entities": entities}
        with one_snapshot(self._engine) as connection:
            moment = moment_of(connection)
            if period.end is None:
                known, totals = totals_now(connection, moment, known, **which)
            else:
                totals = totals_as_of(connection, period.end, **which)
            accounts = _result_accounts(connection, period, **which)
        return known, moment, totals, accounts


def _result_accounts(
    connection: Connection,
    period: Period,
    *,
    entity_id: str | None,
    currency_code: str | None,
    entities: Collection[str] | None,
) -> list[ResultAccount]:
    parameters = {
        "types": [one.value for one in RESULT_TYPES],
        "entity_id": entity_id,
        "entities": None if entities is None else sorted(entities),
        "currency_code": currency_code,
        "begins": period.begins_at,
        "ends": None if period.end is None else period.end.before,
    }
    query = _BY_POSTED_TIME if period.by is TimeBasis.POSTED else _BY_EFFECTIVE_TIME
    return [_result_account(row) for row in connection.execute(query, parameters)]


def _result_account(row: Any) -> ResultAccount:
    account_id, entity_id, account_type, currency_code, opening, closing, balance = row
    return ResultAccount(account_id, entity_id, account_type, currency_code, int(opening), int(closing), int(balance))
