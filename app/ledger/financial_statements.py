"""Balance sheet and income statement as the ledger has them: totals of all types, and the accounts of the result.

The totals come from the balances of now, the accounts of the result from their own entries: the proof compares both.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.domain.financial_statements import RESULT_TYPES, Period, ResultAccount
from app.domain.read_models import LedgerMoment
from app.domain.trial_balance import TypeTotal
from app.ledger.connections import translated
from app.ledger.history import moment_of
from app.ledger.past_balances import reached
from app.ledger.snapshots import one_snapshot
from app.ledger.trial_balance import KnownTotals, summed, totals_as_of, totals_now

_WANTED = """
    SELECT a.account_id, a.entity_id, a.type, a.currency_code, b.entry_count, b.normal_sign, b.balance_minor
    FROM account a CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = a.account_id OFFSET 0) b
    WHERE a.type = ANY(:types) AND b.entry_count > 0
        AND (CAST(:entity_id AS text) IS NULL OR a.entity_id = :entity_id)
        AND (CAST(:entities AS text[]) IS NULL OR a.entity_id = ANY(CAST(:entities AS text[])))
        AND (CAST(:currency_code AS text) IS NULL OR a.currency_code = :currency_code)
"""


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
    ) -> tuple[KnownTotals, list[TypeTotal], list[ResultAccount]]:
        """The totals of now, totals of all types at the end of a period, and the accounts of the result.

        The totals of now may be given back as `known` the next time. With `entities` only their accounts count.
        """
        which: dict[str, Any] = {"entity_id": entity_id, "currency_code": currency_code, "entities": entities}
        with one_snapshot(self._engine) as connection:
            current = totals_now(connection, known)
            totals = current.totals if period.end is None else totals_as_of(connection, current.totals, period.end)
            accounts = _result_accounts(connection, period, **which)
        return current, summed(totals, **which), accounts


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
    query = text(reached(_WANTED, period.by))
    return [_result_account(row) for row in connection.execute(query, parameters)]


def _result_account(row: Any) -> ResultAccount:
    account_id, entity_id, account_type, currency_code, opening, closing, balance = row
    return ResultAccount(account_id, entity_id, account_type, currency_code, int(opening), int(closing), int(balance))
