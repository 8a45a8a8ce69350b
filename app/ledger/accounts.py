"""The accounts of the ledger.

A payment may wait for two of these reads: the facts of an account that its process has not met before, and the balance
of one that is not in the cache. Both are prepared statements on a kept connection and take one round trip. Through
SQLAlchemy's pool they took four and eight.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from threading import Lock
from typing import Any

from sqlalchemy import Engine, RowMapping, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.account_changes import ACTION
from app.domain.accounts import AccountFacts, AccountStatus, AccountType, floor_of, normal_sign
from app.domain.audit import Action
from app.domain.errors import Misconfigured
from app.domain.money import Asset
from app.domain.origin import note_recorded
from app.domain.read_models import Account
from app.ledger.audit_records import record_change
from app.ledger.connections import LedgerConnection, translated
from app.ledger.engine import any_of, separate_connection
from app.ledger.hydration_rows import FOR_HYDRATION, Hydration, hydration_from
from app.ledger.schema import account, account_balance, audit_event, ledger_setting, used_currency

_FACTS = """
SELECT account_id, entity_id, type, currency_code, status, overdraft_limit_minor IS NOT NULL,
    account_id IN (SELECT account_id FROM unfinished_change WHERE frozen_in IS NOT NULL)
FROM account WHERE account_id = ANY(%s::text[])
"""

_LAST_CHANGE = (
    select(func.coalesce(func.max(audit_event.c.audit_event_id), 0))
    .where(audit_event.c.subject == account.c.account_id, audit_event.c.action == ACTION)
    .correlate(account)
    .scalar_subquery()
)
_ACCOUNTS = select(account, _LAST_CHANGE.label("version"))


class LedgerAccounts:
    """Creates and reads accounts."""

    def __init__(self, engine: Engine, partitions: int) -> None:
        self._engine = engine
        self._partitions = partitions
        self._kept = LedgerConnection(partial(separate_connection, engine), checks_idle=True)
        self._kept_lock = Lock()

    def create(self, wanted: Mapping[str, Any], actor: str, asset: Asset) -> tuple[Account, bool]:
        """Create an account with its balance row and its audit event; returns the account, and whether it is new.

        The first account in a currency of ISO 4217 has the ledger keep the currency's minor units.
        """
        values = {key: wanted[key] for key in wanted if key in account.c}
        with translated(), self._engine.begin() as connection:
            statement = (
                upsert(account)
                .values(**values, status="open", created_by=actor, created_at=func.clock_timestamp())
                .on_conflict_do_nothing()
            )
            created = connection.execute(statement.returning(*account.c)).mappings().one_or_none()
            if created is None:
                found = connection.execute(_ACCOUNTS.where(account.c.account_id == wanted["account_id"]))
                return account_from(found.mappings().one()), False
            made = account_from({**created, "version": 0})
            if asset.is_iso:
                kept = {"currency_code": asset.currency_code, "minor_units": asset.minor_units, "name": asset.name}
                keeping = upsert(used_currency).values(**kept, first_used_at=func.clock_timestamp())
                connection.execute(keeping.on_conflict_do_nothing())
            connection.execute(
                insert(account_balance).values(
                    account_id=made.account_id,
                    entity_id=made.entity_id,
                    currency_code=made.currency_code,
                    normal_sign=normal_sign(made.type),
                    floor_minor=floor_of(made.overdraft_limit_minor),
                    balance_minor=0,
                    version=0,
                    entry_count=0,
                    updated_at=func.clock_timestamp(),
                )
            )
            detail: dict[str, Any] = {
                "type": made.type,
                "currency_code": made.currency_code,
                "entity_id": made.entity_id,
            }
            detail |= {"overdraft_limit_minor": made.overdraft_limit_minor, "name": made.name}
            connection.execute(
                insert(audit_event).values(
                    actor=actor,
                    action="account.create",
                    subject=made.account_id,
                    detail=detail,
                    recorded_at=func.clock_timestamp(),
                )
            )
            record_change(
                connection.exec_driver_sql,
                Action.ACCOUNT_CREATE,
                actor,
                entity_id=made.entity_id,
                account_id=made.account_id,
                result=asdict(made),
            )
        note_recorded()
        return made, True

    def get(self, account_id: str) -> Account | None:
        """One account; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_ACCOUNTS.where(account.c.account_id == account_id)).mappings().first()
        return account_from(row) if row else None

    def page(
        self,
        *,
        limit: int,
        after: str | None,
        entity_id: str | None,
        currency_code: str | None,
        entities: Collection[str] | None = None,
    ) -> list[Account]:
        """Up to `limit` accounts in the order of their ids, those after the id `after`; with `entities` only theirs."""
        query = _ACCOUNTS.order_by(account.c.account_id).limit(limit)
        if after is not None:
            query = query.where(account.c.account_id > after)
        if entity_id is not None:
            query = query.where(account.c.entity_id == entity_id)
        if entities is not None:
            query = query.where(account.c.entity_id == any_of(sorted(entities)))
        if currency_code is not None:
            query = query.where(account.c.currency_code == currency_code)
        with translated(), self._engine.connect() as connection:
            return [account_from(row) for row in connection.execute(query).mappings()]

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """What a payment must know of these accounts. Unknown accounts are left out."""
        return {
            row[0]: AccountFacts(row[0], row[1], AccountType(row[2]), row[3], AccountStatus(row[4]), row[5], row[6])
            for row in self._read(_FACTS, account_ids)
        }

    def directory_version(self) -> int:
        """The version of all accounts' facts together; Misconfigured if the ledger has another number of partitions."""
        with translated(), self._engine.connect() as connection:
            query = select(ledger_setting.c.name, ledger_setting.c.value)
            settings = {row.name: row.value for row in connection.execute(query)}
        if settings["partitions"] != self._partitions:
            raise Misconfigured(
                f"The ledger was made with {settings['partitions']} partitions and this program is set to "
                f"{self._partitions}; set HOLDFAST_PARTITIONS={settings['partitions']}."
            )
        return int(settings["directory_version"])

    def balances_for_hydration(self, account_ids: Sequence[str]) -> Hydration:
        """What the cache is told of these accounts, from one snapshot."""
        return hydration_from(self._read(FOR_HYDRATION, account_ids))

    def _read(self, query: str, account_ids: Iterable[str]) -> list[tuple[Any, ...]]:
        wanted = list(account_ids)
        with self._kept_lock:
            return self._kept.run(lambda connection: connection.execute(query, (wanted,), prepare=True).fetchall())


def account_from(row: Mapping[str, Any] | RowMapping) -> Account:
    """An account from a row of its table with its version."""
    return Account(
        account_id=row["account_id"],
        entity_id=row["entity_id"],
        type=AccountType(row["type"]),
        currency_code=row["currency_code"],
        name=row["name"],
        overdraft_limit_minor=row["overdraft_limit_minor"],
        status=AccountStatus(row["status"]),
        metadata=row["metadata"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        version=row["version"],
    )
