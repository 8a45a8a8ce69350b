"""Lists that people read: accounts with their balances, the entries of one account, and what is held on it.

Each page is found by an index, whatever the filter and however many rows there are: the filters of accounts have
indexes of their own, and entries are looked at in portions.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, func, select, text

from app.domain.account_lists import (
    AccountFilter,
    BalanceCourse,
    EntryFilter,
    EntryPage,
    ListedAccount,
    OpenAuthorization,
)
from app.domain.accounts import AccountStatus, AccountType
from app.domain.read_models import AccountEntry
from app.ledger.connections import translated
from app.ledger.history import ACCOUNT_ENTRIES
from app.ledger.schema import account, account_balance, asset, entry, hold, ledger_transaction, used_currency

PORTION = 5_000
"""Entries of an account that one page of a filter looks at: some ten milliseconds."""

MOST_EXTREMES = 50_000
"""Entries among which the extremes of a chart are looked for: some ten milliseconds."""

_ENTITIES = text("""
WITH RECURSIVE found (entity_id) AS (
    (SELECT entity_id FROM account ORDER BY entity_id LIMIT 1)
    UNION ALL
    SELECT (SELECT a.entity_id FROM account a WHERE a.entity_id > f.entity_id ORDER BY a.entity_id LIMIT 1)
    FROM found f WHERE f.entity_id IS NOT NULL
)
SELECT entity_id FROM found WHERE entity_id IS NOT NULL LIMIT :most
""")
_BALANCES = text("""
WITH RECURSIVE search (n, at, low, high) AS (
    SELECT b.n, b.at, 0::bigint, (SELECT entry_count FROM account_balance WHERE account_id = :account_id)
    FROM unnest(CAST(:moments AS timestamptz[])) WITH ORDINALITY AS b (at, n)
    UNION ALL
    SELECT s.n, s.at, CASE WHEN e.posted_at < s.at THEN s.middle ELSE s.low END,
        CASE WHEN e.posted_at < s.at THEN s.high ELSE s.middle - 1 END
    FROM (SELECT n, at, low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
    CROSS JOIN LATERAL (
        SELECT posted_at FROM entry WHERE account_id = :account_id AND entry_number = s.middle OFFSET 0
    ) e
)
SELECT s.low, coalesce((SELECT balance_minor FROM entry WHERE account_id = :account_id AND entry_number = s.low), 0)
FROM search s WHERE s.low >= s.high ORDER BY s.n
""")
_LAST = "\U0010ffff"
"""Sorts after every character that an id may hold."""


class LedgerAccountLists:
    """Accounts and entries, a page at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def accounts(self, wanted: AccountFilter, *, limit: int, after: str | None) -> list[ListedAccount]:
        """Up to `limit` accounts in the order of their ids, those after the id `after`."""
        conditions = _conditions(wanted)
        if after is not None:
            conditions.append(account.c.account_id > after)
        names = ("account_id", "entity_id", "type", "currency_code", "name", "status")
        found = select(*(account.c[name] for name in names)).where(*conditions)
        page = found.order_by(account.c.account_id).limit(limit).subquery()
        figures = (account_balance.c.balance_minor, account_balance.c.entry_count, account_balance.c.updated_at)
        of_page = account_balance.c.account_id == page.c.account_id
        query = select(*page.c, *figures).join_from(page, account_balance, of_page).order_by(page.c.account_id)
        with translated(), self._engine.connect() as connection:
            return [_listed(row) for row in connection.execute(query)]

    def entities(self, most: int = 200) -> list[str]:
        """The entities that have accounts, found one after the other by the index."""
        with translated(), self._engine.connect() as connection:
            return list(connection.execute(_ENTITIES, {"most": most}).scalars())

    def currencies(self) -> list[str]:
        """The currencies and assets that accounts are or may be kept in."""
        query = select(used_currency.c.currency_code).union(select(asset.c.currency_code))
        with translated(), self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def entries(self, account_id: str, wanted: EntryFilter, *, limit: int, before: int | None) -> EntryPage:
        """Up to `limit` entries of an account, the newest first, those before entry number `before`.

        At most PORTION entries are looked at, so a page that finds fewer than `limit` may have older ones.
        """
        newest = select(account_balance.c.entry_count).where(account_balance.c.account_id == account_id)
        with translated(), self._engine.connect() as connection:
            last = (before - 1) if before is not None else int(connection.execute(newest).scalar() or 0)
            first = max(1, last - PORTION + 1)
            rows = connection.execute(_entries(account_id, wanted, first, last).limit(limit)).all()
        if len(rows) == limit:
            first = rows[-1][0]
        return EntryPage([AccountEntry(*row) for row in rows], (first, last), has_older=first > 1)

    def course(self, account_id: str, moments: Sequence[datetime]) -> BalanceCourse:
        """What the balance was at each moment, by posted time, and its extremes in between; for a chart."""
        parameters: dict[str, Any] = {"account_id": account_id, "moments": list(moments)}
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(_BALANCES, parameters).all()
            values, first, last = [int(row[1]) for row in rows], rows[0][0], rows[-1][0]
            if last - first > MOST_EXTREMES:
                return BalanceCourse(values, min(values), max(values), is_exact=False)
            between = and_(entry.c.account_id == account_id, entry.c.entry_number.between(first + 1, last))
            extremes = select(func.min(entry.c.balance_minor), func.max(entry.c.balance_minor)).where(between)
            known = [*values, *(int(one) for one in connection.execute(extremes).one() if one is not None)]
        return BalanceCourse(values, min(known), max(known), is_exact=True)

    def open_authorizations(self, account_id: str, limit: int) -> tuple[list[OpenAuthorization], int, int]:
        """Up to `limit` authorizations that hold funds of an account, oldest first; how many, and their sum."""
        mine = and_(hold.c.guarded_account_id == account_id, hold.c.state == "authorized")
        with translated(), self._engine.connect() as connection:
            totals = select(func.count(), func.coalesce(func.sum(hold.c.hold_minor), 0)).where(mine)
            count, held_minor = connection.execute(totals).one()
            rows = connection.execute(select(hold).where(mine).order_by(hold.c.accepted_at).limit(limit)).all()
        return [_authorization(row) for row in rows], int(count), int(held_minor)


def _conditions(wanted: AccountFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.begins_with:
        conditions += [account.c.account_id >= wanted.begins_with, account.c.account_id < wanted.begins_with + _LAST]
    for name in ("entity_id", "type", "currency_code", "status"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(account.c[name] == value)
    return conditions


def _entries(account_id: str, wanted: EntryFilter, first: int, last: int) -> Any:
    query = ACCOUNT_ENTRIES.where(entry.c.account_id == account_id, entry.c.entry_number.between(first, last)).order_by(
        entry.c.entry_number.desc()
    )
    if wanted.posted_from is not None:
        query = query.where(entry.c.posted_at >= wanted.posted_from)
    if wanted.posted_before is not None:
        query = query.where(entry.c.posted_at < wanted.posted_before)
    if wanted.kind is not None:
        query = query.where(ledger_transaction.c.kind == wanted.kind)
    if wanted.amount_minor is not None:
        query = query.where(func.abs(entry.c.amount_minor) == wanted.amount_minor)
    return query


def _listed(row: Any) -> ListedAccount:
    account_id, entity_id, account_type, currency_code, name, status, *figures = row
    return ListedAccount(
        account_id, entity_id, AccountType(account_type), currency_code, name, AccountStatus(status), *figures
    )


def _authorization(row: Any) -> OpenAuthorization:
    destinations = [account_id for account_id, _ in row.legs[1:]]
    return OpenAuthorization(
        row.payment_id, row.external_id, destinations, row.hold_minor, row.accepted_at, row.expires_at
    )
