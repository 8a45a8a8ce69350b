"""The trial balance as people read it: totals by entity, currency and type, and the first accounts of each type.

Totals over a million accounts take a second. Those of a moment that was read before are brought up to date instead:
only the accounts with entries since then are looked at, and what each of them adds to the totals is replaced. From the
totals of now, those of an instant of the past are reached in the same way, by the accounts with later entries.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from app.domain.read_models import AsOf, LedgerMoment
from app.domain.trial_balance import TrialBalanceAccount, TypeTotal
from app.ledger.connections import translated
from app.ledger.history import moment_of
from app.ledger.past_balances import Way, way_to
from app.ledger.snapshots import one_snapshot

MOST_MOVED = 20_000
"""Transactions since the moment of known totals, or entries between an instant and an end of the ledger, up to which
accounts are looked up one by one. With more, reading all of them is as quick; the database cannot tell how many follow.
"""

_TOTALS = """
SELECT b.entity_id, b.currency_code, a.type, count(*), coalesce(sum(b.normal_sign * b.balance_minor)
        FILTER (WHERE b.normal_sign * b.balance_minor > 0), 0),
    coalesce(-sum(b.normal_sign * b.balance_minor) FILTER (WHERE b.normal_sign * b.balance_minor < 0), 0)
FROM account_balance b JOIN account a USING (account_id) WHERE {among} GROUP BY b.entity_id, b.currency_code, a.type
"""
_BOTH_TIMES = """
WITH both_times AS MATERIALIZED (
    SELECT c.account_id, b.entity_id, b.currency_code, a.type, b.entry_count, c.is_made,
        {base} AS base, {base} + c.minor AS signed
    FROM (
        SELECT account_id, sum(minor)::bigint AS minor, bool_or(is_made) AS is_made
        FROM (
            SELECT account_id, minor, false AS is_made FROM ({moved}) m
            UNION ALL
            SELECT account_id, 0, true FROM {made}
        ) m WHERE {among} GROUP BY account_id
    ) c {join}
)
"""
_BALANCE_NOW = "b.normal_sign * b.balance_minor"
_ONE_BY_ONE = """
    CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = c.account_id OFFSET 0) b
    CROSS JOIN LATERAL (SELECT type FROM account WHERE account_id = c.account_id OFFSET 0) a
"""
_ALL_AT_ONCE = """
    JOIN (
        SELECT account_id, entity_id, currency_code, entry_count, normal_sign, balance_minor FROM account_balance
        WHERE {among} OFFSET 0
    ) b USING (account_id)
    JOIN (SELECT account_id, type FROM account WHERE {among} OFFSET 0) a USING (account_id)
"""
_ARE_MANY = f"""
SELECT count(*) > {MOST_MOVED} FROM (
    SELECT FROM ({{moved}}) m UNION ALL SELECT FROM {{made}} LIMIT {MOST_MOVED} + 1
) a
"""  # noqa: S608 - nothing of a request is in it
_CHANGES = """
SELECT entity_id, currency_code, type, {count}, sum(greatest(signed, 0) - greatest(base, 0)),
    sum(greatest(-signed, 0) - greatest(-base, 0))
FROM both_times GROUP BY entity_id, currency_code, type
"""
_FROM_NOW = "-count(*) FILTER (WHERE is_made AND signed = 0)"
_FROM_THE_BEGINNING = "count(*) FILTER (WHERE is_made OR signed <> 0)"
_LINES = """
SELECT one.* FROM unnest(CAST(:codes AS text[]), CAST(:types AS text[])) AS wanted (code, type)
CROSS JOIN LATERAL (
    SELECT a.entity_id, a.currency_code, a.type, b.entry_count, b.normal_sign * b.balance_minor AS signed, a.account_id
    FROM account a
    CROSS JOIN LATERAL (SELECT * FROM account_balance WHERE account_id = a.account_id OFFSET 0) b
    WHERE a.type = wanted.type AND a.currency_code = wanted.code AND b.balance_minor <> 0
        AND (CAST(:entity_id AS text) IS NULL OR a.entity_id = :entity_id)
        AND a.account_id >= :begins_with AND a.account_id < :beyond {condition}
    ORDER BY a.account_id LIMIT :most
) one
"""
_CHANGES_AND_LINES = """
, unmoved AS MATERIALIZED ({unmoved}), full_groups AS (
    SELECT currency_code, type, max(account_id) AS last FROM unmoved GROUP BY currency_code, type
    HAVING count(*) = :most
), listed AS (
    SELECT * FROM unmoved
    UNION ALL
    SELECT entity_id, currency_code, type, entry_count, signed, account_id
    FROM both_times LEFT JOIN full_groups USING (currency_code, type)
    WHERE signed <> 0 AND (last IS NULL OR account_id < last)
        AND (CAST(:entity_id AS text) IS NULL OR entity_id = :entity_id)
        AND (CAST(:currency_code AS text) IS NULL OR currency_code = :currency_code)
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY currency_code, type ORDER BY account_id) AS number FROM listed
)
SELECT *, NULL AS account_id FROM ({changes}) c
UNION ALL
SELECT entity_id, currency_code, type, entry_count, signed, NULL, account_id FROM numbered WHERE number <= :most
"""

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

    def read(
        self,
        known: KnownTotals | None,
        *,
        entity_id: str | None,
        currency_code: str | None,
        as_of: AsOf | None = None,
        begins_with: str = "",
        most: int,
    ) -> tuple[KnownTotals, list[TypeTotal], list[TrialBalanceAccount]]:
        """The totals of now, which may be given back as `known` the next time; and totals and accounts as asked for.

        The latter are up to `most` accounts of each currency and type that have a balance, by id. `begins_with` is the
        beginning of the accounts' ids; the totals are then of these accounts alone.
        """
        which: dict[str, Any] = {
            "entity_id": entity_id,
            "currency_code": currency_code,
            "most": most,
            **_range(begins_with),
        }
        with one_snapshot(self._engine) as connection:
            current = totals_now(connection, known)
            totals = current.totals if not begins_with else _all_totals(connection, begins_with)
            way = way_to(connection, as_of, None)
            if not way.from_now:
                totals = {}
            listed = [one for one in summed(totals, entity_id, currency_code) if one.debit_minor or one.credit_minor]
            which |= {"codes": [one.currency_code for one in listed], "types": [one.type for one in listed]}
            if as_of is None:
                rows = connection.execute(text(_LINES.format(condition="")), which).all()
                accounts = [_account(row) for row in rows]
            else:
                query, parameters = _both_times(connection, way, begins_with)
                unmoved = _LINES.format(condition="AND a.account_id NOT IN (SELECT account_id FROM both_times)")
                query += _CHANGES_AND_LINES.format(unmoved=unmoved, changes=_changes(way))
                rows = connection.execute(text(query), which | parameters).all()
                totals = _changed(totals, [row for row in rows if row.account_id is None], 1)
                accounts = [_account(row) for row in rows if row.account_id is not None]
        accounts.sort(key=lambda one: (one.currency_code, one.type, one.account_id))
        return current, summed(totals, entity_id, currency_code), accounts


def totals_now(connection: Connection, known: KnownTotals | None) -> KnownTotals:
    """The totals of this snapshot, from known ones if these are near enough."""
    moment = moment_of(connection)
    if known is None or sum(moment.chain_seqs) - sum(known.moment.chain_seqs) > MOST_MOVED:
        return KnownTotals(moment, _all_totals(connection, ""))
    way = way_to(connection, None, known.moment)
    made = "account_balance WHERE id > :last_account"
    query = _BOTH_TIMES.format(moved=way.query, made=made, base=_BALANCE_NOW, join=_ONE_BY_ONE, among="true")
    parameters = way.parameters | {"last_account": known.moment.last_account}
    return KnownTotals(
        moment, _changed(known.totals, connection.execute(text(query + _changes(way)), parameters).all(), -1)
    )


def totals_as_of(connection: Connection, totals: Totals, as_of: AsOf) -> Totals:
    """The totals of another instant, from those of this snapshot."""
    way = way_to(connection, as_of, None)
    query, parameters = _both_times(connection, way, "")
    rows = connection.execute(text(query + _changes(way)), parameters).all()
    return _changed(totals if way.from_now else {}, rows, 1)


def summed(
    totals: Totals, entity_id: str | None, currency_code: str | None, entities: Collection[str] | None = None
) -> list[TypeTotal]:
    """The totals of one entity, some or all, in one currency or all."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for (entity, code, account_type), figures in totals.items():
        is_seen = entities is None or entity in entities
        if is_seen and figures[0] and entity_id in (None, entity) and currency_code in (None, code):
            former = found.get((code, account_type), (0, 0, 0))
            found[code, account_type] = (former[0] + figures[0], former[1] + figures[1], former[2] + figures[2])
    return [TypeTotal(code, account_type, *figures) for (code, account_type), figures in found.items()]


def _all_totals(connection: Connection, begins_with: str) -> Totals:
    """The totals of this snapshot, from all balances or from those of the accounts whose ids begin so."""
    rows = connection.execute(text(_TOTALS.format(among=_among(begins_with))), _range(begins_with)).all()
    return _changed({}, rows, 1)


def _both_times(connection: Connection, way: Way, begins_with: str) -> tuple[str, dict[str, Any]]:
    """What moved on the way to an instant, and the parameters of this beginning of a query."""
    made = f"account WHERE created_at {'>=' if way.from_now else '<'} :before"
    are_many = connection.execute(text(_ARE_MANY.format(moved=way.query, made=made)), way.parameters).scalar_one()
    query = _BOTH_TIMES.format(
        moved=way.query,
        made=made,
        base=_BALANCE_NOW if way.from_now else "0",
        join=(_ALL_AT_ONCE if are_many else _ONE_BY_ONE).format(among=_among(begins_with)),
        among=_among(begins_with),
    )
    return query, way.parameters | _range(begins_with)


def _changes(way: Way) -> str:
    return _CHANGES.format(count=_FROM_NOW if way.from_now else _FROM_THE_BEGINNING)


def _among(begins_with: str) -> str:
    return "account_id >= :begins_with AND account_id < :beyond" if begins_with else "true"


def _range(begins_with: str) -> dict[str, str]:
    return {"begins_with": begins_with, "beyond": begins_with + "\U0010ffff"}


def _changed(totals: Totals, rows: Sequence[Any], sign: int) -> Totals:
    """Totals, and added or taken off what rows say in the order of `_TOTALS`."""
    changed = dict(totals)
    for entity, code, account_type, *change in (row[:6] for row in rows):
        former = changed.get((entity, code, account_type), (0, 0, 0))
        count, debit, credit = (one + sign * int(other) for one, other in zip(former, change, strict=True))
        changed[entity, code, account_type] = (count, debit, credit)
    return changed


def _account(row: Any) -> TrialBalanceAccount:
    entity_id, currency_code, account_type, entry_count, signed = row[:5]
    return TrialBalanceAccount(row.account_id, entity_id, account_type, currency_code, entry_count, int(signed))
