"""Users, their sessions and their failed tries in the ledger."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.audit import Action
from app.domain.users import FORGOTTEN_AFTER, Role, Session, SignInMethod, SignInTry, User, wait_after
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.schema import audit_event
from app.ledger.user_schema import app_user, page_secret, sign_in_try, user_session

_USERS = select(
    app_user.c.user_id,
    app_user.c.role,
    app_user.c.password_hash,
    app_user.c.totp_secret,
    app_user.c.totp_counter,
    app_user.c.oidc_subject,
    app_user.c.invitation_hash,
    app_user.c.invitation_expires_at,
    app_user.c.created_by,
    app_user.c.created_at,
    app_user.c.disabled_at,
)
_SESSIONS = _USERS.add_columns(
    user_session.c.session_hash,
    user_session.c.method,
    user_session.c.client,
    user_session.c.begun_at,
    user_session.c.seen_at,
    user_session.c.expires_at,
).join_from(user_session, app_user, user_session.c.user_id == app_user.c.user_id)
_OPEN = user_session.c.ended_at.is_(None)


class LedgerUsers:
    """Users. Only the ledger's owner may invite and disable; a person takes up the invitation with the app's role."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def invite(self, user_id: str, role: Role, invitation_hash: bytes, expires_at: datetime, actor: str) -> None:
        """Make a user, or give one that is there this role and a new invitation; an earlier password stays valid."""
        values = {
            "role": role.value,
            "invitation_hash": invitation_hash,
            "invitation_expires_at": expires_at,
            "disabled_at": None,
        }
        statement = upsert(app_user).values(
            user_id=user_id, totp_counter=0, created_by=actor, created_at=func.clock_timestamp(), **values
        )
        with translated(), self._engine.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))
            _record(connection, actor, Action.USER_INVITE, user_id, role=role.value)

    def disable(self, user_id: str, actor: str) -> bool:
        """Disable a user and end all sessions; returns whether there was one to disable."""
        with translated(), self._engine.begin() as connection:
            disabled = connection.execute(
                update(app_user)
                .where(app_user.c.user_id == user_id, app_user.c.disabled_at.is_(None))
                .values(disabled_at=func.clock_timestamp(), invitation_hash=None, invitation_expires_at=None)
            ).rowcount
            if disabled:
                _end(connection, user_session.c.user_id == user_id)
                _record(connection, actor, Action.USER_DISABLE, user_id)
        return bool(disabled)

    def all(self) -> list[User]:
        """Every user, by name."""
        with translated(), self._engine.connect() as connection:
            return [_user(row) for row in connection.execute(_USERS.order_by(app_user.c.user_id))]

    def get(self, user_id: str) -> User | None:
        """One user; None if there is none."""
        return self._one(app_user.c.user_id == user_id)

    def by_invitation(self, invitation_hash: bytes) -> User | None:
        """The user with this invitation, whether or not it has expired."""
        return self._one(app_user.c.invitation_hash == invitation_hash)

    def by_organisation(self, issuer: str, subject: str) -> User | None:
        """The user who signs in with this account of an organisation."""
        return self._one((app_user.c.oidc_issuer == issuer) & (app_user.c.oidc_subject == subject))

    def take_up(
        self,
        user: User,
        *,
        password_hash: str | None = None,
        key_proof: bytes | None = None,
        organisation: tuple[str, str] | None = None,
    ) -> bool:
        """Use an invitation up, once: set a password, or name an account of the organisation by issuer and subject.

        `key_proof` is the hash of the proof that follows from the password.
        """
        values: dict[str, Any] = {"invitation_hash": None, "invitation_expires_at": None}
        if password_hash is not None:
            values |= {"password_hash": password_hash, "totp_secret": None, "key_proof": key_proof}
        if organisation is not None:
            values["oidc_issuer"], values["oidc_subject"] = organisation
        is_same = (app_user.c.user_id == user.user_id) & (app_user.c.invitation_hash == user.invitation_hash)
        with translated(), self._engine.begin() as connection:
            taken = connection.execute(update(app_user).where(is_same).values(**values)).rowcount
            if taken:
                _end(connection, user_session.c.user_id == user.user_id)
                how = SignInMethod.ORGANISATION if organisation else SignInMethod.PASSWORD
                _record(connection, user.actor, Action.SIGN_IN_SET_UP, user.user_id, method=how.value)
        return bool(taken)

    def set_totp(self, user: User, secret: str | None, counter: int) -> None:
        """Keep the secret of a person's second factor, or forget it."""
        with translated(), self._engine.begin() as connection:
            values = {"totp_secret": secret, "totp_counter": counter}
            connection.execute(update(app_user).where(app_user.c.user_id == user.user_id).values(**values))
            action = Action.SECOND_FACTOR_END if secret is None else Action.SECOND_FACTOR_BEGIN
            _record(connection, user.actor, action, user.user_id)

    def use_totp(self, user_id: str, counter: int) -> bool:
        """Use up the code of a time step; False if it, or a later one, was used before."""
        is_unused = (app_user.c.user_id == user_id) & (app_user.c.totp_counter < counter)
        with translated(), self._engine.begin() as connection:
            return bool(connection.execute(update(app_user).where(is_unused).values(totp_counter=counter)).rowcount)

    def page_secret(self) -> bytes:
        """What signs the cookie of forms."""
        with translated(), self._engine.connect() as connection:
            return bytes(connection.execute(select(page_secret.c.secret)).scalar_one())

    def _one(self, condition: ColumnElement[bool]) -> User | None:
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_USERS.where(condition)).first()
        return None if row is None else _user(row)


class LedgerSessions:
    """Where people are signed in, and failed tries to sign in. Times are the ledger's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, user: User, session_hash: bytes, method: SignInMethod, client: str, expires_at: datetime) -> None:
        """Begin a session."""
        with translated(), self._engine.begin() as connection:
            connection.execute(
                insert(user_session).values(
                    session_hash=session_hash,
                    user_id=user.user_id,
                    method=method.value,
                    client=client,
                    begun_at=func.clock_timestamp(),
                    seen_at=func.clock_timestamp(),
                    expires_at=expires_at,
                )
            )
            _record(connection, user.actor, Action.SIGN_IN, user.user_id, method=method.value, client=client)

    def get(self, session_hash: bytes) -> Session | None:
        """An open session of a user who is not disabled; None if there is none. It may be too old."""
        condition = (user_session.c.session_hash == session_hash) & _OPEN & app_user.c.disabled_at.is_(None)
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_SESSIONS.where(condition)).first()
        return None if row is None else _session(row)

    def of(self, user_id: str) -> list[Session]:
        """The open sessions of a user, the latest first; some may be too old."""
        query = _SESSIONS.where(user_session.c.user_id == user_id, _OPEN).order_by(user_session.c.begun_at.desc())
        with translated(), self._engine.connect() as connection:
            return [_session(row) for row in connection.execute(query)]

    def see(self, session_hash: bytes) -> None:
        """Note that a session is in use."""
        with translated(), self._engine.begin() as connection:
            seen = update(user_session).where(user_session.c.session_hash == session_hash, _OPEN)
            connection.execute(seen.values(seen_at=func.clock_timestamp()))

    def end(self, session: Session) -> None:
        """End one session."""
        with translated(), self._engine.begin() as connection:
            _end(connection, user_session.c.session_hash == session.session_hash)
            _record(connection, session.user.actor, Action.SIGN_OUT, session.user.user_id)

    def end_all(self, user: User) -> int:
        """End all sessions of a user; returns how many there were."""
        with translated(), self._engine.begin() as connection:
            ended = _end(connection, user_session.c.user_id == user.user_id)
            _record(connection, user.actor, Action.SIGN_OUT_EVERYWHERE, user.user_id, sessions=ended)
        return ended

    def begin_try(self, name_hash: bytes, now: Callable[[], datetime]) -> SignInTry:
        """Count a try under a name as failed, before anything is checked; a success takes it back.

        A try that comes too early is not admitted and counts for nothing, so nobody is kept out for ever.
        """
        with translated(), self._engine.begin() as connection:
            connection.execute(delete(sign_in_try).where(sign_in_try.c.last_try_at < now() - FORGOTTEN_AFTER))
            first = {"name_hash": name_hash, "failures": 0, "next_try_at": now(), "last_try_at": now()}
            connection.execute(upsert(sign_in_try).values(**first).on_conflict_do_nothing())
            mine = sign_in_try.c.name_hash == name_hash
            row = connection.execute(select(sign_in_try).where(mine).with_for_update()).one()
            moment = now()
            if row.next_try_at > moment:
                return SignInTry(row.failures, row.next_try_at, is_admitted=False)
            failures = row.failures + 1
            next_try_at = moment + wait_after(failures)
            counted = {"failures": failures, "next_try_at": next_try_at, "last_try_at": moment}
            connection.execute(update(sign_in_try).where(mine).values(**counted))
            return SignInTry(failures, next_try_at, is_admitted=True)

    def forget_tries(self, name_hash: bytes) -> None:
        """Forget the failures of a name after a success."""
        with translated(), self._engine.begin() as connection:
            connection.execute(delete(sign_in_try).where(sign_in_try.c.name_hash == name_hash))

    def record_lock_out(self, user: User, failures: int) -> None:
        """Keep that somebody was made to wait under a user's name."""
        with translated(), self._engine.begin() as connection:
            _record(connection, user.actor, Action.LOCK_OUT, user.user_id, failures=failures)


def _user(row: Any) -> User:
    return User(
        user_id=row.user_id,
        role=Role(row.role),
        password_hash=row.password_hash,
        totp_secret=row.totp_secret,
        totp_counter=row.totp_counter,
        oidc_subject=row.oidc_subject,
        invitation_hash=None if row.invitation_hash is None else bytes(row.invitation_hash),
        invitation_expires_at=row.invitation_expires_at,
        created_by=row.created_by,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def _session(row: Any) -> Session:
    return Session(
        user=_user(row),
        session_hash=bytes(row.session_hash),
        method=SignInMethod(row.method),
        client=row.client,
        begun_at=row.begun_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
    )


def _end(connection: Connection, which: ColumnElement[bool]) -> int:
    return connection.execute(update(user_session).where(which, _OPEN).values(ended_at=func.clock_timestamp())).rowcount


def _record(connection: Connection, actor: str, action: Action, user_id: str, **detail: Any) -> None:
    event = {"actor": actor, "action": action.value, "subject": user_id, "detail": detail}
    connection.execute(insert(audit_event).values(**event, recorded_at=func.clock_timestamp()))
    record_change(connection.exec_driver_sql, action, actor, result={"user_id": user_id, **detail})
