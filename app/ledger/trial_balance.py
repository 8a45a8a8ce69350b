"""The trial balance as people read it: totals by currency and type, and the first accounts of each type."""

from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select

from app.domain.read_models import AsOf
from app.domain.trial_balance import TrialBalanceAccount, TypeTotal
from app.ledger.connections import translated
from app.ledger.history import credit_of, debit_of, signed_at
from app.ledger.schema import account, account_balance


class LedgerTrialBalance:
    """Reads trial balances, each from one snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(
        self, *, entity_id: str | None, currency_code: str | None, as_of: AsOf | None, begins_with: str, most: int
    ) -> tuple[list[TypeTotal], list[TrialBalanceAccount]]:
        """Totals by currency and type, and up to `most` accounts of each that have a balance, by id.

        `begins_with` is the beginning of the accounts' ids; the totals are then of these accounts alone.
        """
        signed, source = signed_at(as_of, None)
        joined = source.join(account, account.c.account_id == account_balance.c.account_id)
        conditions = _conditions(entity_id, currency_code, begins_with)
        group = (account_balance.c.currency_code, account.c.type)
        totals = (
            select(*group, func.count(), func.sum(debit_of(signed)), func.sum(credit_of(signed)))
            .select_from(joined)
            .where(*conditions)
            .group_by(*group)
        )
        numbered = (
            select(
                account_balance.c.account_id,
                account_balance.c.entity_id,
                *group,
                account_balance.c.entry_count,
                signed.label("signed"),
                func.row_number().over(partition_by=group, order_by=account_balance.c.account_id).label("number"),
            )
            .select_from(joined)
            .where(*conditions, signed != 0)
            .subquery()
        )
        lines = select(numbered).where(numbered.c.number <= most)
        lines = lines.order_by(numbered.c.currency_code, numbered.c.type, numbered.c.account_id)
        with translated(), self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            total_rows = connection.execute(totals).all()
            line_rows = connection.execute(lines).all()
        return [_total(row) for row in total_rows], [_line(row) for row in line_rows]


def _conditions(entity_id: str | None, currency_code: str | None, begins_with: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if entity_id is not None:
        conditions.append(account_balance.c.entity_id == entity_id)
    if currency_code is not None:
        conditions.append(account_balance.c.currency_code == currency_code)
    if begins_with:
        conditions.append(account_balance.c.account_id.between(begins_with, begins_with + "\U0010ffff"))
    return conditions


def _total(row: Any) -> TypeTotal:
    currency_code, account_type, count, debit, credit = row
    return TypeTotal(currency_code, account_type, count, int(debit), int(credit))


def _line(row: Any) -> TrialBalanceAccount:
    account_id, entity_id, currency_code, account_type, entry_count, signed, _ = row
    return TrialBalanceAccount(account_id, entity_id, account_type, currency_code, entry_count, int(signed))
