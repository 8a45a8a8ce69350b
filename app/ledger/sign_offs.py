"""Signing a period off, reopening it, and reading what was signed. Each account has a chain of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from app.domain.audit import Action
from app.domain.match_records import StatementAccount
from app.domain.match_refusals import sign_off_incomplete, sign_off_not_found, statement_account_not_found
from app.domain.origin import note_recorded
from app.domain.refusals import Refusal
from app.domain.sign_off import PeriodFigures, SignOff, SignOffAction, canonical
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.period_figures import covered_through, read_figures
from app.ledger.snapshots import one_snapshot
from app.ledger.statement_accounts import locked_statement_account

_SELECT = """
    SELECT statement_account_id, number, action, first_on, last_on, version, former_id, signed_through, summary, reason,
        signed_by, signed_at, previous_hash, hash, sign_off_id
    FROM sign_off
"""
_INSERT = """
    INSERT INTO sign_off (statement_account_id, number, action, first_on, last_on, version, former_id, signed_through,
        summary, reason, signed_by, signed_at, previous_hash, hash)
    VALUES (%(statement_account_id)s, %(number)s, %(action)s, %(first_on)s, %(last_on)s, %(version)s, %(former_id)s,
        %(signed_through)s, %(summary)s, %(reason)s, %(signed_by)s, %(signed_at)s, %(previous_hash)s, %(hash)s)
    RETURNING sign_off_id
"""


class LedgerSignOffs:
    """The chains of sign-offs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def chain(self, statement_account_id: int) -> list[SignOff]:
        """Everything that was signed or reopened, in order."""
        with translated(), self._engine.connect() as connection:
            return _chain(connection, statement_account_id)

    def figures(self, account: StatementAccount, first_on: date, last_on: date) -> PeriodFigures:
        """What a period looks like now, signed off or not."""
        with one_snapshot(self._engine) as connection:
            former = _signed_before(_chain(connection, account.statement_account_id), first_on)
            return read_figures(connection, account, first_on, last_on, former)

    def covered_through(self, account: StatementAccount) -> date | None:
        """The last day that statements of an account tell of."""
        with translated(), self._engine.connect() as connection:
            return covered_through(connection, account)

    def next_period(self, account: StatementAccount, last_on: date) -> PeriodFigures:
        """What the next period to sign off looks like, through a day."""
        return self.figures(account, account.first_open_day, last_on)

    def sign(self, statement_account_id: int, last_on: date, remark: str, actor: str) -> SignOff | Refusal:
        """Sign off everything from the end of what is signed through a day."""
        with translated(), self._engine.begin() as connection:
            account = locked_statement_account(connection, statement_account_id)
            if account is None:
                return statement_account_not_found(statement_account_id)
            chain = _chain(connection, statement_account_id)
            first_on = account.first_open_day
            former = _signed_before(chain, first_on)
            figures = read_figures(connection, account, first_on, last_on, former)
            if bars := figures.bars(remark):
                return sign_off_incomplete(bars)
            replaced = _reopened_of(chain, first_on)
            signed = SignOff(
                statement_account_id,
                len(chain) + 1,
                SignOffAction.SIGNED,
                first_on,
                last_on,
                1 if replaced is None else replaced.version + 1,
                None if replaced is None else replaced.sign_off_id,
                last_on,
                canonical({**figures.as_json(), **_basis(connection, account)}),
                remark,
                actor,
                _now(connection),
                chain[-1].hash if chain else b"",
            )
            stored = _store(connection, account, signed, Action.SIGN_OFF)
        note_recorded()
        return stored

    def reopen(self, statement_account_id: int, sign_off_id: int, reason: str, actor: str) -> SignOff | Refusal:
        """Open the last signed period again, for a new version of it."""
        with translated(), self._engine.begin() as connection:
            account = locked_statement_account(connection, statement_account_id)
            if account is None:
                return statement_account_not_found(statement_account_id)
            chain = _chain(connection, statement_account_id)
            signed = next((one for one in chain if one.sign_off_id == sign_off_id), None)
            if signed is None or signed.action is not SignOffAction.SIGNED:
                return sign_off_not_found(sign_off_id)
            if signed.last_on != account.signed_through:
                through = account.signed_through or "nothing"
                return sign_off_incomplete([f"Only the last period can be reopened; {through} is signed off."])
            former = _signed_before(chain, signed.first_on)
            opened = replace(
                signed,
                number=len(chain) + 1,
                action=SignOffAction.REOPENED,
                former_id=signed.sign_off_id,
                signed_through=None if former is None else former.last_on,
                summary="{}",
                reason=reason,
                signed_by=actor,
                signed_at=_now(connection),
                previous_hash=chain[-1].hash,
            )
            stored = _store(connection, account, opened, Action.SIGN_OFF_REOPEN)
        note_recorded()
        return stored


def _chain(connection: Connection, statement_account_id: int) -> list[SignOff]:
    query = f"{_SELECT} WHERE statement_account_id = %(id)s ORDER BY number"
    return [_sign_off(row) for row in connection.exec_driver_sql(query, {"id": statement_account_id})]


def _sign_off(row: Any) -> SignOff:
    fields = list(row)
    fields[2], fields[12], fields[13] = SignOffAction(fields[2]), bytes(fields[12]), bytes(fields[13])
    return SignOff(*fields)


def _signed_before(chain: list[SignOff], first_on: date) -> SignOff | None:
    """The signed period that ends just before a day, in the version that stands."""
    stands: dict[date, SignOff] = {}
    for one in chain:
        if one.action is SignOffAction.SIGNED:
            stands[one.last_on] = one
        else:
            stands.pop(one.last_on, None)
    return next((one for one in stands.values() if one.last_on == first_on - timedelta(days=1)), None)


def _reopened_of(chain: list[SignOff], first_on: date) -> SignOff | None:
    """The newest version of the period that began on this day and was reopened."""
    return next(
        (one for one in reversed(chain) if one.action is SignOffAction.SIGNED and one.first_on == first_on), None
    )


def _basis(connection: Connection, account: StatementAccount) -> dict[str, Any]:
    """What the figures rest on: the setup, and how far the ledger's account and the imports had come."""
    query = """
        SELECT (SELECT entry_count FROM account_balance WHERE account_id = %(account_id)s),
            (SELECT max(import_id) FROM statement_import WHERE source_name = %(source_name)s)
    """
    named = {"account_id": account.account_id, "source_name": account.source_name}
    entry_count, import_id = connection.exec_driver_sql(query, named).one()
    return {
        **named,
        "account_ref": account.account_ref,
        "currency_code": account.currency_code,
        "setup_version": account.version,
        "entry_count": entry_count,
        "last_import_id": import_id,
    }


def _now(connection: Connection) -> Any:
    return connection.exec_driver_sql("SELECT date_trunc('milliseconds', clock_timestamp())").scalar_one()


def _store(connection: Connection, account: StatementAccount, one: SignOff, action: Action) -> SignOff:
    one = replace(one, hash=one.computed_hash())
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    values["action"] = one.action.value
    stored = replace(one, sign_off_id=int(connection.exec_driver_sql(_INSERT, values).scalar_one()))
    told = {
        "sign_off_id": stored.sign_off_id,
        "first_on": one.first_on,
        "last_on": one.last_on,
        "version": one.version,
        "former_id": one.former_id,
        "reason": one.reason,
        "hash": one.hash.hex(),
    }
    record_change(connection.exec_driver_sql, action, one.signed_by, account_id=account.account_id, result=told)
    return stored
