"""Accounts in the books: creating, reading, and what a payment must know of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, RowMapping, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.accounts import AccountFacts, AccountStatus, AccountType, floor_of, normal_sign
from app.domain.books import Account
from app.domain.faults import Misconfigured
from app.domain.posting import LedgerBalance
from app.ledger.database import translated
from app.ledger.kept import KeptReader
from app.ledger.schema import account, account_balance, audit_event, ledger_setting, partition


class AccountBooks:
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
