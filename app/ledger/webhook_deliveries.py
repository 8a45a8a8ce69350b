"""What the deliverer reads and writes: endpoints with their secrets, what waits for them, and its attempts.

One process delivers at a time: it holds an advisory lock by its session, so a killed one keeps nobody waiting.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.audit import Action
from app.domain.events import Cursor
from app.domain.webhooks import Attempt, Endpoint, EndpointState, Secrets, Waiting
from app.ledger.audit_records import record_change
from app.ledger.connections import LedgerConnection, SessionLimits, connect, translated
from app.ledger.webhook_schema import webhook_attempt, webhook_endpoint, webhook_secret, webhook_waiting
from app.ledger.webhooks import endpoint_from, waiting_in

_TRY_TO_DELIVER = "SELECT pg_try_advisory_lock(477019, 0)"
_STILL_DELIVERS = "SELECT 1"


class DeliveryLock:
    """Keeps other deliverers away for as long as its session lives."""

    def __init__(self, database_url: str) -> None:
        limits = SessionLimits(idle_session_s=0.0)
        self._ledger = LedgerConnection(
            partial(connect, database_url, application_name="holdfast deliver", limits=limits)
        )
        self._is_held = False

    def is_held(self) -> bool:
        """Whether this process is the one that delivers; takes the lock if it is free."""
        if self._is_held and self._ledger.is_open:
            self._ledger.rows(_STILL_DELIVERS)
            return True
        self._is_held = False
        [(taken,)] = self._ledger.rows(_TRY_TO_DELIVER)
        self._is_held = bool(taken)
        return self._is_held

    def close(self) -> None:
        """Let others deliver."""
        self._ledger.close()


class LedgerDeliveries:
    """The deliverer's side of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> list[Endpoint]:
        """Those that are to be told of events."""
        query = select(webhook_endpoint).where(webhook_endpoint.c.state == EndpointState.ENABLED.value)
        with translated(), self._engine.connect() as connection:
            return [endpoint_from(row) for row in connection.execute(query)]

    def secrets(self) -> Secrets:
        """What messages are signed with now, the newest secret of each endpoint first."""
        columns = webhook_secret.c
        valid = columns.expires_at.is_(None) | (columns.expires_at > func.clock_timestamp())
        query = select(columns.endpoint_id, columns.secret).where(valid).order_by(columns.secret_id.desc())
        found: dict[str, list[str]] = {}
        with translated(), self._engine.connect() as connection:
            for endpoint_id, secret in connection.execute(query):
                found.setdefault(endpoint_id, []).append(secret)
        return found

    def next_tries(self) -> dict[str, datetime]:
        """When something that waits is next to be tried, for each endpoint for which something waits."""
        columns = webhook_waiting.c
        waits = (columns.endpoint_id == webhook_endpoint.c.endpoint_id, columns.dead_at.is_(None))
        first = select(func.min(columns.next_at)).where(*waits).scalar_subquery()
        query = select(webhook_endpoint.c.endpoint_id, first).where(
            webhook_endpoint.c.state == EndpointState.ENABLED.value
        )
        with translated(), self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query) if row[1] is not None}

    def waiting(self, endpoint_id: str, limit: int) -> list[Waiting]:
        """The first events that wait for an endpoint, in order; the dead are not among them."""
        with translated(), self._engine.connect() as connection:
            return waiting_in(connection, endpoint_id, limit)

    def record(
        self,
        endpoint: Endpoint,
        attempts: Sequence[Attempt],
        delivered: Sequence[Waiting],
        waiting: Sequence[Waiting],
        cursor: Cursor | None,
    ) -> None:
        """Write what became of some events, all at once: attempts, what waits, and up to where the endpoint is told.

        `delivered` waited before and wait no more.
        """
        with translated(), self._engine.begin() as connection:
            if attempts:
                connection.execute(insert(webhook_attempt), [_attempt_row(one) for one in attempts])
            for one in delivered:
                connection.execute(delete(webhook_waiting).where(*_is(one)))
            for one in waiting:
                values = _waiting_row(one)
                statement = upsert(webhook_waiting).values(**values)
                changed = {name: values[name] for name in _CHANGING}
                key = ["endpoint_id", "position", "part", "slot"]
                connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
            if cursor is not None:
                place = dict(zip(("position", "part", "slot"), cursor, strict=True))
                mine = webhook_endpoint.c.endpoint_id == endpoint.endpoint_id
                connection.execute(
                    update(webhook_endpoint)
                    .where(mine, webhook_endpoint.c.state != EndpointState.DELETED.value)
                    .values(**place)
                )

    def hasten(self, endpoint_id: str) -> None:
        """Have all that waits for an endpoint tried now: it has come back."""
        columns = webhook_waiting.c
        mine = update(webhook_waiting).where(columns.endpoint_id == endpoint_id, columns.dead_at.is_(None))
        with translated(), self._engine.begin() as connection:
            connection.execute(mine.values(next_at=func.least(columns.next_at, func.clock_timestamp())))

    def note_gone(self, endpoint: Endpoint) -> None:
        """Tell an endpoint of nothing more: it has answered 410."""
        mine = webhook_endpoint.c.endpoint_id == endpoint.endpoint_id
        enabled = webhook_endpoint.c.state == EndpointState.ENABLED.value
        with translated(), self._engine.begin() as connection:
            ended = update(webhook_endpoint).where(mine, enabled).values(state=EndpointState.GONE.value)
            if connection.execute(ended).rowcount:
                told = {"endpoint_id": endpoint.endpoint_id, "state": EndpointState.GONE.value}
                record_change(connection.exec_driver_sql, Action.WEBHOOK_CHANGE, "deliverer", result=told)


_CHANGING = ("attempts", "first_at", "next_at", "dead_at", "last_failure")


def _is(one: Waiting) -> list[Any]:
    columns = webhook_waiting.c
    names = zip(("position", "part", "slot"), one.cursor, strict=True)
    return [columns.endpoint_id == one.endpoint_id, *(columns[name] == value for name, value in names)]


def _waiting_row(one: Waiting) -> dict[str, Any]:
    return {
        "endpoint_id": one.endpoint_id,
        "position": one.cursor.position,
        "part": one.cursor.part,
        "slot": one.cursor.slot,
        "event_id": one.event_id,
        "event_type": one.event_type,
        "account_ids": list(one.account_ids),
        "attempts": one.attempts,
        "first_at": one.first_at,
        "next_at": one.next_at,
        "dead_at": one.dead_at,
        "last_failure": one.last_failure,
    }


def _attempt_row(one: Attempt) -> dict[str, Any]:
    return {
        "endpoint_id": one.endpoint_id,
        "event_id": one.event_id,
        "event_type": one.event_type,
        "sequence": str(one.cursor),
        "number": one.number,
        "url": one.url,
        "started_at": one.started_at,
        "duration_ms": one.duration_ms,
        "status": one.status,
        "answer": one.answer.replace("\x00", "\\x00"),
        "is_delivered": one.is_delivered,
    }
