"""What a payment waits for when it meets an account: prepared statements on a connection that is kept for them.

A process asks for the facts of each account that it meets, and somebody for the balance of each that is not in the
cache. Through the pool that took four round trips and eight, and the composing of the queries; this way it takes one.
"""

from collections.abc import Iterable, Mapping, Sequence
from select import POLLIN, poll
from threading import Lock
from typing import Any

import psycopg
from sqlalchemy import Engine, RowMapping, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.accounts import AccountFacts, AccountStatus, AccountType, floor_of, normal_sign
from app.domain.errors import Misconfigured
from app.domain.ledger_rows import LedgerBalance
from app.domain.read_models import Account
from app.ledger.engine import translated
from app.ledger.hydration import FOR_HYDRATION, hydration_from
from app.ledger.schema import account, account_balance, audit_event, ledger_setting, partition

_FACTS = """
SELECT account_id, entity_id, type, currency_code, status, overdraft_limit_minor IS NOT NULL
FROM account WHERE account_id = ANY(%s::text[])
"""


class KeptReader:
    """Reads accounts, one look at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._kept: psycopg.Connection[Any] | None = None

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """What a payment must know of these accounts; unknown ones are left out."""
        return {
            row[0]: AccountFacts(row[0], row[1], AccountType(row[2]), row[3], AccountStatus(row[4]), row[5])
            for row in self._rows(_FACTS, account_ids)
        }

    def balances_for_hydration(
        self, account_ids: Iterable[str]
    ) -> tuple[int, dict[str, LedgerBalance], dict[str, dict[str, int]]]:
        """Of one moment: the directory version, these accounts' balances, and their open authorizations.

        The authorizations are amounts held by account and outbox position.
        """
        return hydration_from(self._rows(FOR_HYDRATION, account_ids))

    def _rows(self, query: str, account_ids: Iterable[str]) -> list[tuple[Any, ...]]:
        with translated(), self._lock:
            return self._connection().execute(query, (list(account_ids),), prepare=True).fetchall()

    def _connection(self) -> psycopg.Connection[Any]:
        """The kept connection, or a new one where the server has closed it since."""
        if self._kept is not None and not _is_quiet(self._kept):
            self._kept.close()
            self._kept = None
        if self._kept is None:
            pooled = self._engine.raw_connection()
            connection: Any = pooled.driver_connection
            pooled.detach()
            connection.autocommit = True
            self._kept = connection
        return self._kept


def _is_quiet(connection: psycopg.Connection[Any]) -> bool:
    """Whether nothing has come unasked: a server that closes a connection says so."""
    if connection.closed:
        return False
    looked = poll()
    looked.register(connection.fileno(), POLLIN)
    return not looked.poll(0)


class LedgerAccounts:
    """The accounts of the books."""

    def __init__(self, engine: Engine, partitions: int) -> None:
        self._engine = engine
        self._partitions = partitions
        self._kept = KeptReader(engine)

    def create(self, wanted: Mapping[str, Any], actor: str) -> tuple[Account, bool]:
        """Create an account with its balance row and its audit event; returns the one that exists, and if it is new."""
        values = {key: wanted[key] for key in wanted if key in account.c}
        with translated(), self._engine.begin() as connection:
            statement = (
                upsert(account)
                .values(**values, status="open", created_by=actor, created_at=func.clock_timestamp())
                .on_conflict_do_nothing()
            )
            created = connection.execute(statement.returning(*account.c)).mappings().one_or_none()
            if created is None:
                found = connection.execute(select(account).where(account.c.account_id == wanted["account_id"]))
                return account_from(found.mappings().one()), False
            made = account_from(created)
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
        return made, True

    def get(self, account_id: str) -> Account | None:
        """One account; None where there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(select(account).where(account.c.account_id == account_id)).mappings().first()
        return account_from(row) if row else None

    def page(self, *, limit: int, after: str | None, entity_id: str | None, currency_code: str | None) -> list[Account]:
        """Up to `limit` accounts by id, those behind `after`."""
        query = select(account).order_by(account.c.account_id).limit(limit)
        if after is not None:
            query = query.where(account.c.account_id > after)
        if entity_id is not None:
            query = query.where(account.c.entity_id == entity_id)
        if currency_code is not None:
            query = query.where(account.c.currency_code == currency_code)
        with translated(), self._engine.connect() as connection:
            return [account_from(row) for row in connection.execute(query).mappings()]

    def facts(self, account_ids: Iterable[str]) -> dict[str, AccountFacts]:
        """What a payment must know of these accounts; unknown ones are left out."""
        return self._kept.facts(account_ids)

    def directory_version(self) -> int:
        """The version of all accounts' facts together; Misconfigured if the books count other partitions."""
        with translated(), self._engine.connect() as connection:
            query = select(ledger_setting.c.name, ledger_setting.c.value)
            settings = {row.name: row.value for row in connection.execute(query)}
        if settings["partitions"] != self._partitions:
            raise Misconfigured(
                f"The books were made with {settings['partitions']} partitions and this program is set to "
                f"{self._partitions}; set HOLDFAST_PARTITIONS={settings['partitions']}."
            )
        return int(settings["directory_version"])

    def last_position(self, number: int) -> str:
        """The last outbox position that was posted in a partition; empty before the first."""
        query = select(partition.c.last_position).where(partition.c.partition == number)
        with translated(), self._engine.connect() as connection:
            return str(connection.execute(query).scalar_one())

    def balances_for_hydration(
        self, account_ids: Sequence[str]
    ) -> tuple[int, dict[str, LedgerBalance], dict[str, dict[str, int]]]:
        """Of one moment: the directory version, these accounts' balances, and their open authorizations.

        The authorizations are amounts held by account and outbox position.
        """
        return self._kept.balances_for_hydration(account_ids)


def account_from(row: RowMapping) -> Account:
    """A row of the table."""
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
    )
