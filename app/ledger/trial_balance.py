"""The trial balance as people read it: totals by entity, currency and type, and the first accounts of each type.

Totals over a million accounts take a second. Those of a moment that was read before are brought up to date instead:
only the accounts with entries since then are looked at, and what each of them adds to the totals is replaced. The
subqueries with OFFSET 0 have the database look rows up one by one: it would expect so many that it joined whole tables.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    func,
    null,
    or_,
    select,
    text,
    true,
    union_all,
)

from app.domain.read_models import AsOf, LedgerMoment
from app.domain.trial_balance import TrialBalanceAccount, TypeTotal
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.history import credit_of, debit_of, moment_of, signed_at
from app.ledger.schema import account, account_balance
from app.ledger.snapshots import one_snapshot

_TOTALS = text("""
SELECT b.entity_id, b.currency_code, a.type, count(*), coalesce(sum(b.normal_sign * b.balance_minor)
        FILTER (WHERE b.normal_sign * b.balance_minor > 0), 0),
    coalesce(-sum(b.normal_sign * b.balance_minor) FILTER (WHERE b.normal_sign * b.balance_minor < 0), 0)
FROM account_balance b JOIN account a USING (account_id) GROUP BY b.entity_id, b.currency_code, a.type
""")
_CHANGES = text("""
WITH moved AS (
    SELECT e.account_id, sum(e.amount_minor) AS minor
    FROM unnest(CAST(:lows AS bigint[])) WITH ORDINALITY AS known (seq, number)
    JOIN partition p ON p.partition = known.number - 1
    CROSS JOIN LATERAL (
        SELECT account_id, amount_minor FROM entry
        WHERE partition = p.partition AND chain_seq > known.seq AND chain_seq <= p.chain_seq OFFSET 0
    ) e
    GROUP BY e.account_id
), changed AS (
    SELECT m.account_id, m.minor, 0 AS made FROM moved m
    UNION ALL
    SELECT account_id, NULL, 1 FROM account_balance WHERE id > :last_account
), both_times AS (
    SELECT b.entity_id, b.currency_code, a.type, c.made,
        CASE WHEN c.made = 0 THEN b.normal_sign * b.balance_minor - c.minor ELSE 0 END AS earlier,
        CASE WHEN c.made = 0 THEN b.normal_sign * b.balance_minor ELSE 0 END AS later
    FROM changed c
    CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = c.account_id OFFSET 0) b
    CROSS JOIN LATERAL (SELECT type FROM account WHERE account_id = c.account_id OFFSET 0) a
)
SELECT entity_id, currency_code, type, sum(made), sum(greatest(later, 0) - greatest(earlier, 0)),
    sum(greatest(-later, 0) - greatest(-earlier, 0))
FROM both_times GROUP BY entity_id, currency_code, type
""")
_LINES = text("""
SELECT one.* FROM unnest(CAST(:codes AS text[]), CAST(:types AS text[])) AS wanted (code, type)
CROSS JOIN LATERAL (
    SELECT a.account_id, a.entity_id, a.currency_code, a.type, b.entry_count, b.normal_sign * b.balance_minor
    FROM account a
    CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = a.account_id OFFSET 0) b
    WHERE a.type = wanted.type AND a.currency_code = wanted.code AND b.balance_minor <> 0
        AND (CAST(:entity_id AS text) IS NULL OR a.entity_id = :entity_id)
    ORDER BY a.account_id LIMIT :most
) one
ORDER BY one.currency_code, one.type, one.account_id
""")

MOST_MOVED = 20_000
"""Transactions since the moment of known totals beyond which reading all accounts is as quick."""

Totals = Mapping[tuple[str, str, str], tuple[int, int, int]]
"""Accounts, debits and credits, the latter in minor units, by entity, currency and type."""


@dataclass(slots=True, frozen=True)
class KnownTotals:
    """The totals of one moment of the ledger."""

    moment: LedgerMoment
    totals: Totals


class LedgerTrialBalance:
    """Reads trial balances, each from one snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def moment(self) -> LedgerMoment:
        """How far the ledger has come."""
        with translated(), self._engine.connect() as connection:
            return moment_of(connection)

    def now(
        self, known: KnownTotals | None, *, entity_id: str | None, currency_code: str | None, most: int
    ) -> tuple[KnownTotals, list[TypeTotal], list[TrialBalanceAccount]]:
        """The totals of now, which may be given back as `known` the next time; and as `at`, totals and accounts."""
        with one_snapshot(self._engine) as connection:
            moment = moment_of(connection)
            current, totals = totals_now(connection, moment, known, entity_id=entity_id, currency_code=currency_code)
            listed = [one for one in totals if one.debit_minor or one.credit_minor]
            parameters = {
                "codes": [one.currency_code for one in listed],
                "types": [one.type for one in listed],
                "entity_id": entity_id,
                "most": most,
            }
            lines = connection.execute(_LINES, parameters).all() if listed else []
        return current, totals, [_line(row) for row in lines]

    def at(
        self, *, entity_id: str | None, currency_code: str | None, as_of: AsOf | None, begins_with: str, most: int
    ) -> tuple[LedgerMoment, list[TypeTotal], list[TrialBalanceAccount]]:
        """Totals by currency and type, and up to `most` accounts of each that have a balance, by id.

        `begins_with` is the beginning of the accounts' ids; the totals are then of these accounts alone.
        """
        balance = _balances(as_of, _conditions(entity_id, currency_code, begins_with)).cte("balance")
        with one_snapshot(self._engine) as connection:
            moment = moment_of(connection)
            rows = connection.execute(union_all(_totals_of(balance, as_of), _first_of(balance, most))).all()
        lines = [_line_of(row) for row in rows if row.account_id is not None]
        lines.sort(key=lambda one: (one.currency_code, one.type, one.account_id))
        return moment, [_total(row[:5]) for row in rows if row.account_id is None], lines


def _balances(as_of: AsOf | None, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Each account with its balance at an instant, debit positive."""
    signed, source = signed_at(as_of, None)
    columns = account_balance.c
    return (
        select(
            columns.account_id,
            columns.entity_id,
            columns.currency_code,
            columns.entry_count,
            account.c.type,
            account.c.created_at,
            signed.label("signed"),
        )
        .select_from(source.join(account, account.c.account_id == columns.account_id))
        .where(*conditions)
    )


def _totals_of(balance: FromClause, as_of: AsOf | None) -> Select[Any]:
    """One row for each currency and type; its last columns are empty, where `_first_of` has an account."""
    group = (balance.c.currency_code, balance.c.type)
    # An account counts that was open by then, or in which took effect by then what was posted later.
    is_in = true() if as_of is None else or_(balance.c.created_at < as_of.before, balance.c.signed != 0)
    counted = func.count().filter(is_in)
    figures = (
        counted.label("accounts"),
        func.sum(debit_of(balance.c.signed)).label("debit"),
        func.sum(credit_of(balance.c.signed)).label("credit"),
    )
    none = (null().label("account_id"), null().label("entity_id"), null().label("entry_count"))
    return select(*group, *figures, *none).group_by(*group).having(counted > 0)


def _first_of(balance: FromClause, most: int) -> Select[Any]:
    """The first accounts of each currency and type that have a balance, which stands in the column of debits."""
    group = (balance.c.currency_code, balance.c.type)
    numbered = (
        select(balance, func.row_number().over(partition_by=group, order_by=balance.c.account_id).label("number"))
        .where(balance.c.signed != 0)
        .subquery()
    )
    columns = numbered.c
    return select(
        columns.currency_code,
        columns.type,
        null(),
        columns.signed,
        null(),
        columns.account_id,
        columns.entity_id,
        columns.entry_count,
    ).where(columns.number <= most)


def totals_now(
    connection: Connection,
    moment: LedgerMoment,
    known: KnownTotals | None,
    *,
    entity_id: str | None,
    currency_code: str | None,
    entities: Collection[str] | None = None,
) -> tuple[KnownTotals, list[TypeTotal]]:
    """The totals of a snapshot and its moment; what comes first may be given back as `known` the next time."""
    current = KnownTotals(moment, _totals_at(connection, moment, known))
    return current, _summed(current.totals, entity_id, currency_code, entities)


def totals_as_of(
    connection: Connection,
    as_of: AsOf,
    *,
    entity_id: str | None,
    currency_code: str | None,
    entities: Collection[str] | None = None,
) -> list[TypeTotal]:
    """The totals of another instant, added up from the entries."""
    conditions = _conditions(entity_id, currency_code, "")
    if entities is not None:
        conditions.append(account_balance.c.entity_id == any_of(sorted(entities)))
    balance = _balances(as_of, conditions).subquery("balance")
    return [_total(row[:5]) for row in connection.execute(_totals_of(balance, as_of))]


def _totals_at(connection: Connection, moment: LedgerMoment, known: KnownTotals | None) -> Totals:
    """The totals of this snapshot, from known ones if these are near enough."""
    if known is None or sum(moment.chain_seqs) - sum(known.moment.chain_seqs) > MOST_MOVED:
        return {(row[0], row[1], row[2]): _figures(row) for row in connection.execute(_TOTALS)}
    parameters = {"lows": list(known.moment.chain_seqs), "last_account": known.moment.last_account}
    totals = dict(known.totals)
    for row in connection.execute(_CHANGES, parameters):
        key = (row[0], row[1], row[2])
        former, change = totals.get(key, (0, 0, 0)), _figures(row)
        totals[key] = (former[0] + change[0], former[1] + change[1], former[2] + change[2])
    return totals


def _figures(row: Any) -> tuple[int, int, int]:
    return int(row[3]), int(row[4]), int(row[5])


def _summed(
    totals: Totals, entity_id: str | None, currency_code: str | None, entities: Collection[str] | None
) -> list[TypeTotal]:
    """The totals of one entity, some or all, in one currency or all."""
    summed: dict[tuple[str, str], tuple[int, int, int]] = {}
    for (entity, code, account_type), figures in totals.items():
        is_seen = entities is None or entity in entities
        if is_seen and entity_id in (None, entity) and currency_code in (None, code):
            former = summed.get((code, account_type), (0, 0, 0))
            summed[code, account_type] = (former[0] + figures[0], former[1] + figures[1], former[2] + figures[2])
    return [TypeTotal(code, account_type, *figures) for (code, account_type), figures in summed.items()]


def _conditions(entity_id: str | None, currency_code: str | None, begins_with: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if entity_id is not None:
        conditions.append(account_balance.c.entity_id == entity_id)
    if currency_code is not None:
        conditions.append(account_balance.c.currency_code == currency_code)
    if begins_with:
        last = begins_with + "\U0010ffff"
        conditions += [account_balance.c.account_id >= begins_with, account_balance.c.account_id < last]
    return conditions


def _total(row: Any) -> TypeTotal:
    currency_code, account_type, count, debit, credit = row
    return TypeTotal(currency_code, account_type, count, int(debit), int(credit))


def _line_of(row: Any) -> TrialBalanceAccount:
    return TrialBalanceAccount(
        row.account_id, row.entity_id, row.type, row.currency_code, row.entry_count, int(row.debit)
    )


def _line(row: Any) -> TrialBalanceAccount:
    account_id, entity_id, currency_code, account_type, entry_count, signed = row
    return TrialBalanceAccount(account_id, entity_id, account_type, currency_code, entry_count, int(signed))
