"""Changes of accounts in the ledger: written in one transaction with their audit event and the directory version."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Row,
    and_,
    cast,
    delete,
    distinct,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.domain.account_changes import (
    ACTION,
    FLOOR_RECOVERED,
    AccountChange,
    AccountPatch,
    UnfinishedChange,
    changes_facts,
)
from app.domain.accounts import AccountStatus, floor_of
from app.domain.audit import Action
from app.domain.origin import note_recorded
from app.domain.read_models import Account
from app.ledger.accounts import account_from
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.schema import (
    account,
    account_balance,
    audit_event,
    hold,
    ledger_setting,
    unfinished_change,
)
from app.ledger.snapshots import one_snapshot

_OF_ACCOUNTS = audit_event.c.action == ACTION


class OpenChange:
    """One open transaction that holds an account's rows: nobody else changes or posts to it meanwhile.

    `account` is None where there is none.
    """

    def __init__(self, connection: Connection, account_id: str) -> None:
        self._connection = connection
        self._account_id = account_id
        self.is_recorded = False
        found = connection.execute(select(account).where(account.c.account_id == account_id).with_for_update())
        row = found.mappings().first()
        # Read after the lock, so that no change is missed that was waited for.
        self.account = None if row is None else account_from({**row, "version": self._last_change_id()})

    def lock_balance(self) -> tuple[int, int | None]:
        """Lock the balance against posting; returns it and its floor, in minor units."""
        query = select(account_balance.c.balance_minor, account_balance.c.floor_minor).where(
            account_balance.c.account_id == self._account_id
        )
        row = self._connection.execute(query.with_for_update()).one()
        return row.balance_minor, row.floor_minor

    def next_directory_version(self) -> int:
        """The directory version in which this change becomes true. No other change commits before this one ends."""
        query = select(ledger_setting.c.value).where(ledger_setting.c.name == "directory_version").with_for_update()
        return int(self._connection.execute(query).scalar_one()) + 1

    def _last_change_id(self) -> int:
        """The latest recorded change of this account; 0 if there is none."""
        query = select(func.coalesce(func.max(audit_event.c.audit_event_id), 0))
        return int(
            self._connection.execute(query.where(audit_event.c.subject == self._account_id, _OF_ACCOUNTS)).scalar_one()
        )

    def open_authorizations(self) -> int:
        """How many open authorizations would debit or credit this account."""
        touches = hold.c.legs.contains([[self._account_id]])
        query = select(func.count()).select_from(hold).where(hold.c.state == "authorized", touches)
        return int(self._connection.execute(query).scalar_one())

    def unheld_authorizations(self) -> int:
        """How many open authorizations would lower this account's balance, and hold nothing on it."""
        leg = func.jsonb_array_elements(hold.c.legs).table_valued("value", joins_implicitly=True)
        value = cast(leg.c.value, JSONB)
        query = (
            select(func.count(distinct(hold.c.payment_id)))
            .select_from(hold)
            .join(account_balance, account_balance.c.account_id == self._account_id)
            .join(leg, true())
            .where(
                hold.c.state == "authorized",
                hold.c.legs.contains([[self._account_id]]),
                hold.c.guarded_account_id != self._account_id,
                value[0].astext == self._account_id,
                cast(value[1].astext, BigInteger) * account_balance.c.normal_sign < 0,
            )
        )
        return int(self._connection.execute(query).scalar_one())

    def write(self, changed: Mapping[str, Any], patch: AccountPatch, actor: str) -> Account:
        """Write the changed fields and their audit event; returns the account as it is now."""
        before = self.account
        assert before is not None
        if changes_facts(changed):
            self._raise_directory_version()
        if "overdraft_limit_minor" in changed:
            self._connection.execute(
                update(account_balance)
                .where(account_balance.c.account_id == self._account_id)
                .values(floor_minor=floor_of(changed["overdraft_limit_minor"]), version=account_balance.c.version + 1)
            )
        statement = update(account).where(account.c.account_id == self._account_id).values(**changed)
        row = self._connection.execute(statement.returning(*account.c)).mappings().one()
        after = account_from({**row, "version": before.version})
        event = insert(audit_event).values(
            actor=actor,
            action=ACTION,
            subject=self._account_id,
            detail={
                "reason": patch.reason,
                "forced": patch.force,
                "before": {name: getattr(before, name) for name in changed},
                "after": {name: getattr(after, name) for name in changed},
            },
            recorded_at=func.clock_timestamp(),
        )
        change_id = self._connection.execute(event.returning(audit_event.c.audit_event_id)).scalar_one()
        written = replace(after, version=change_id)
        self._record(Action.ACCOUNT_CHANGE, actor, after.entity_id, asdict(written))
        return written

    def _record(self, action: Action, actor: str, entity_id: str | None, result: Mapping[str, Any]) -> None:
        execute, account_id = self._connection.exec_driver_sql, self._account_id
        record_change(execute, action, actor, entity_id=entity_id, account_id=account_id, result=result)
        self.is_recorded = True

    def pause(self, actor: str) -> int:
        """Have the account take no payment until it is resumed; returns its version.

        A note says so, and who reads the account's facts reads it too. Nothing is recorded, for nothing is changed yet.
        """
        assert self.account is not None
        note = {"frozen_in": self.account.version, "former_status": self.account.status.value}
        self._connection.execute(insert(unfinished_change).values(account_id=self._account_id, actor=actor, **note))
        self._raise_directory_version()
        return self.account.version

    @property
    def is_paused(self) -> bool:
        """Whether the account takes no payment for the moment."""
        query = select(unfinished_change.c.unfinished_change_id).where(self._pauses)
        return self._connection.execute(query).first() is not None

    def resume(self) -> None:
        """Have the account take payments again."""
        self._connection.execute(delete(unfinished_change).where(self._pauses))
        self._raise_directory_version()

    @property
    def _pauses(self) -> ColumnElement[bool]:
        return and_(unfinished_change.c.account_id == self._account_id, unfinished_change.c.frozen_in.is_not(None))

    def _raise_directory_version(self) -> None:
        setting = update(ledger_setting).where(ledger_setting.c.name == "directory_version")
        self._connection.execute(setting.values(value=self.next_directory_version()))

    def record_floor_recovery(self, figures: Mapping[str, Any], actor: str) -> None:
        """Record that the cache guarded another floor than the ledger, and does so no more."""
        self._connection.execute(
            insert(audit_event).values(
                actor=actor,
                action=FLOOR_RECOVERED,
                subject=self._account_id,
                detail=dict(figures),
                recorded_at=func.clock_timestamp(),
            )
        )
        self._record(Action.FLOOR_RECOVERY, actor, self.account.entity_id if self.account else None, figures)


class LedgerAccountChanges:
    """The accounts of the ledger, for changing them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def changing(self, account_id: str) -> Iterator[OpenChange]:
        """A transaction that holds an account; changes of one account come one after the other."""
        with translated(), self._engine.begin() as connection:
            change = OpenChange(connection, account_id)
            yield change
        if change.is_recorded:
            note_recorded()

    def begin(self, account_id: str, actor: str) -> int:
        """Note that a change of the limit begins; returns the note's id."""
        note = insert(unfinished_change).values(account_id=account_id, actor=actor)
        with translated(), self._engine.begin() as connection:
            return int(connection.execute(note.returning(unfinished_change.c.unfinished_change_id)).scalar_one())

    def end(self, unfinished_change_id: int) -> None:
        """Take a note away."""
        ended = unfinished_change.c.unfinished_change_id == unfinished_change_id
        with translated(), self._engine.begin() as connection:
            connection.execute(delete(unfinished_change).where(ended))

    def unfinished(self, older_than_s: float) -> list[UnfinishedChange]:
        """The changes that began so long ago and have not ended."""
        age = func.clock_timestamp() - unfinished_change.c.begun_at
        query = select(unfinished_change).where(age >= timedelta(seconds=older_than_s))
        with translated(), self._engine.connect() as connection:
            return [_unfinished(row) for row in connection.execute(query)]

    def changes(self, account_id: str, *, limit: int, after: int) -> list[AccountChange]:
        """Up to `limit` changes of an account, oldest first, those behind change `after`."""
        query = (
            select(audit_event)
            .where(audit_event.c.subject == account_id, _OF_ACCOUNTS, audit_event.c.audit_event_id > after)
            .order_by(audit_event.c.audit_event_id)
            .limit(limit)
        )
        with translated(), self._engine.connect() as connection:
            return [_change(row) for row in connection.execute(query)]

    def directory_version(self) -> int:
        """The version of all accounts' facts together."""
        query = select(ledger_setting.c.value).where(ledger_setting.c.name == "directory_version")
        with translated(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def floors_changed_last(self, limit: int) -> tuple[int, dict[str, int | None]]:
        """Of one moment: the directory version, and the floors of the `limit` accounts changed last, minor units."""
        subjects = select(audit_event.c.subject).where(_OF_ACCOUNTS).order_by(audit_event.c.audit_event_id.desc())
        version = select(ledger_setting.c.value).where(ledger_setting.c.name == "directory_version")
        with one_snapshot(self._engine) as connection:
            account_ids = connection.execute(subjects.limit(limit)).scalars().all()
            floors = select(account_balance.c.account_id, account_balance.c.floor_minor).where(
                account_balance.c.account_id == any_of(account_ids)
            )
            rows = connection.execute(floors)
            return int(connection.execute(version).scalar_one()), {row.account_id: row.floor_minor for row in rows}


def _change(row: Row[Any]) -> AccountChange:
    detail = row.detail
    return AccountChange(
        change_id=row.audit_event_id,
        account_id=row.subject,
        actor=row.actor,
        recorded_at=row.recorded_at,
        reason=detail["reason"],
        forced=detail["forced"],
        before=detail["before"],
        after=detail["after"],
    )


def _unfinished(row: Row[Any]) -> UnfinishedChange:
    former_status = None if row.former_status is None else AccountStatus(row.former_status)
    return UnfinishedChange(row.unfinished_change_id, row.account_id, row.actor, row.frozen_in, former_status)
