"""Webhook endpoints in the ledger: made, changed and read; and the log of what was delivered to them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Text, func, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from app.domain.audit import Action
from app.domain.events import WHOLE, Cursor, EventType, parse_cursor
from app.domain.origin import note_recorded
from app.domain.webhooks import Attempt, Endpoint, EndpointState, Lag, LoggedAttempt, NewEndpoint, Waiting
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.schema import account
from app.ledger.webhook_schema import webhook_attempt, webhook_endpoint, webhook_secret, webhook_waiting

_IS_THERE = webhook_endpoint.c.state != EndpointState.DELETED.value

COUNTED_POSITIONS = 1_000
"""Positions after an endpoint's cursor that are counted one by one, in a millisecond; beyond, it is an estimate."""

# One statement, so of one moment. `fresh` is what is committed and has no position yet: readers of events give
# positions, and while nobody reads, only this grows. Of what gets positions together, accounts come first whenever they
# were opened, so the time of the first row of another kind is looked at too. When a position was given says nothing of
# when its events happened; that is in the rows that it names.
_LAGS = text("""
WITH fresh AS (
    SELECT p.chain_seq - c.chain_seq AS events, t.posted_at AS at
    FROM partition p JOIN event_chain c USING (partition)
    JOIN ledger_transaction t ON t.partition = c.partition AND t.chain_seq = c.chain_seq + 1
    WHERE p.chain_seq > c.chain_seq
    UNION ALL SELECT count(*), min(noted_at) FROM event_notice
), fresh_sum AS (SELECT sum(events) AS events, min(at) AS at FROM fresh),
place AS MATERIALIZED (
    SELECT e.endpoint_id, n.next, n.told,
        (SELECT w.position FROM webhook_waiting w WHERE w.endpoint_id = e.endpoint_id AND w.dead_at IS NULL
            ORDER BY w.position, w.part, w.slot LIMIT 1) AS waiting,
        (SELECT l.position FROM event_log l WHERE l.position >= n.next AND l.kind <> 'account'
            ORDER BY l.position LIMIT 1) AS moved
    FROM webhook_endpoint e CROSS JOIN LATERAL (
        SELECT CASE WHEN e.part = :whole THEN e.position + 1 ELSE e.position END AS next,
            CASE WHEN e.part = :whole THEN 0 ELSE e.part END AS told
    ) n WHERE e.state = 'enabled'
)
SELECT p.endpoint_id,
    greatest(0, coalesce(extract(epoch FROM clock_timestamp() - least(oldest.at, f.at)), 0))::float,
    (coalesce(ceil(unread.events * (h.position - p.next + 1) / unread.positions), 0) + f.events)::bigint,
    p.waiting IS NOT NULL
FROM place p CROSS JOIN fresh_sum f CROSS JOIN event_head h
CROSS JOIN LATERAL (
    SELECT sum(coalesce(c.last_seq - c.first_seq + 1, 1)) - p.told AS events, nullif(count(*), 0) AS positions
    FROM (SELECT l.first_seq, l.last_seq FROM event_log l WHERE l.position >= p.next ORDER BY l.position LIMIT :most) c
) unread
CROSS JOIN LATERAL (
    SELECT min(CASE l.kind
        WHEN 'chain' THEN (SELECT t.posted_at FROM ledger_transaction t
            WHERE t.partition = l.partition AND t.chain_seq = l.first_seq)
        WHEN 'account' THEN (SELECT a.recorded_at FROM audit_event a WHERE a.audit_event_id = l.source_id::bigint)
        WHEN 'hold' THEN (SELECT v.recorded_at FROM hold_event v WHERE v.hold_event_id = l.source_id::bigint)
        WHEN 'rejection' THEN (SELECT r.rejected_at FROM payment_rejection r WHERE r.payment_id = l.source_id)
        WHEN 'break' THEN (SELECT b.recorded_at FROM reconciliation_break_event b
            WHERE b.event_id = l.source_id::bigint)
        WHEN 'monitor' THEN (SELECT m.crossed_at FROM monitor_crossing m WHERE m.crossing_id = l.source_id::bigint)
    END) AS at
    FROM event_log l WHERE l.position = ANY (ARRAY[p.waiting, p.next, p.moved])
) oldest
""")


class LedgerWebhooks:
    """The endpoints. With `entities` only those are found that get no events of others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Reading

    def get(self, endpoint_id: str, entities: Collection[str] | None = None) -> Endpoint | None:
        """One endpoint; None if there is none, or it was deleted."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_visible(entities).where(webhook_endpoint.c.endpoint_id == endpoint_id)).first()
        return None if row is None else endpoint_from(row)

    def page(self, *, limit: int, after: str | None, entities: Collection[str] | None = None) -> list[Endpoint]:
        """Up to `limit` endpoints by id, after endpoint `after`."""
        query = _visible(entities).order_by(webhook_endpoint.c.endpoint_id).limit(limit)
        if after is not None:
            query = query.where(webhook_endpoint.c.endpoint_id > after)
        with translated(), self._engine.connect() as connection:
            return [endpoint_from(row) for row in connection.execute(query)]

    def has_account(self, account_id: str) -> bool:
        """Whether there is such an account that an endpoint may be told about."""
        with translated(), self._engine.connect() as connection:
            query = select(account.c.account_id).where(account.c.account_id == account_id)
            return connection.execute(query).first() is not None

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many events wait for each endpoint, and how many are dead; endpoints without any are left out."""
        dead = webhook_waiting.c.dead_at.is_not(None)
        query = select(webhook_waiting.c.endpoint_id, func.count().filter(~dead), func.count().filter(dead))
        query = query.join(webhook_endpoint).where(_IS_THERE).group_by(webhook_waiting.c.endpoint_id)
        with translated(), self._engine.connect() as connection:
            return {endpoint_id: (waiting, given_up) for endpoint_id, waiting, given_up in connection.execute(query)}

    def lags(self) -> dict[str, Lag]:
        """How far each enabled endpoint is behind. It asks the ledger only, so it is true while nobody delivers."""
        with translated(), self._engine.connect() as connection:
            return {
                row[0]: Lag(*row[1:]) for row in connection.execute(_LAGS, {"most": COUNTED_POSITIONS, "whole": WHOLE})
            }

    def attempts(self, endpoint_id: str, *, limit: int, before: int | None = None) -> list[LoggedAttempt]:
        """Up to `limit` attempts to deliver to an endpoint, the latest first, those before attempt `before`."""
        query = select(webhook_attempt).where(webhook_attempt.c.endpoint_id == endpoint_id)
        if before is not None:
            query = query.where(webhook_attempt.c.attempt_id < before)
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(webhook_attempt.c.attempt_id.desc()).limit(limit))
            return [_attempt(row) for row in rows]

    def waiting(self, endpoint_id: str, *, limit: int, after: Cursor | None = None, dead: bool = True) -> list[Waiting]:
        """Up to `limit` events that an endpoint has not taken, in order: the dead, or those that are tried again."""
        with translated(), self._engine.connect() as connection:
            return waiting_in(connection, endpoint_id, limit, after=after, dead=dead)

    # Writing

    def add(self, endpoint_id: str, new: NewEndpoint, secret: str, cursor: Cursor, actor: str) -> Endpoint:
        """Make an endpoint that is told of what follows the cursor."""
        values = {
            "endpoint_id": endpoint_id,
            "name": new.name,
            "url": new.url,
            "types": None if new.types is None else [one.value for one in new.types],
            "account_id": new.account_id,
            "entities": None if new.entities is None else sorted(new.entities),
            "is_ordered": new.is_ordered,
        }
        place = dict(zip(("position", "part", "slot"), cursor, strict=True))
        with translated(), self._engine.begin() as connection:
            made = insert(webhook_endpoint).values(**values, **place, created_by=actor)
            row = connection.execute(made.returning(*webhook_endpoint.c)).one()
            connection.execute(insert(webhook_secret).values(endpoint_id=endpoint_id, secret=secret))
            _record(connection, Action.WEBHOOK_CREATE, actor, values)
        note_recorded()
        return endpoint_from(row)

    def change(
        self, endpoint_id: str, fields: Mapping[str, Any], actor: str, entities: Collection[str] | None = None
    ) -> Endpoint | None:
        """Change name, url, types or state; None if there is no such endpoint."""
        changed = update(webhook_endpoint).where(webhook_endpoint.c.endpoint_id == endpoint_id, *_of(entities))
        with translated(), self._engine.begin() as connection:
            row = connection.execute(changed.values(**fields).returning(*webhook_endpoint.c)).first()
            if row is None:
                return None
            _record(connection, Action.WEBHOOK_CHANGE, actor, {"endpoint_id": endpoint_id, **fields})
        note_recorded()
        return endpoint_from(row)

    def rotate(
        self, endpoint_id: str, secret: str, overlap: timedelta, actor: str, entities: Collection[str] | None = None
    ) -> bool:
        """Sign with another secret from now on, and with the present ones too for a while; False if there is none."""
        ends_at = func.clock_timestamp() + overlap
        columns = webhook_secret.c
        old = update(webhook_secret).where(
            columns.endpoint_id == endpoint_id,
            (columns.expires_at.is_(None)) | (columns.expires_at > ends_at),
        )
        with translated(), self._engine.begin() as connection:
            found = _visible(entities).where(webhook_endpoint.c.endpoint_id == endpoint_id)
            if connection.execute(found.with_for_update()).first() is None:
                return False
            connection.execute(old.values(expires_at=ends_at))
            connection.execute(insert(webhook_secret).values(endpoint_id=endpoint_id, secret=secret))
            told = {"endpoint_id": endpoint_id, "overlap_hours": overlap.total_seconds() / 3600}
            _record(connection, Action.WEBHOOK_ROTATE, actor, told)
        note_recorded()
        return True

    def resend(self, endpoint_id: str, event_ids: Sequence[str] | None, actor: str) -> int:
        """Have dead events tried again, or all of them; returns how many."""
        columns = webhook_waiting.c
        now = func.clock_timestamp()
        dead = update(webhook_waiting).where(columns.endpoint_id == endpoint_id, columns.dead_at.is_not(None))
        if event_ids is not None:
            dead = dead.where(columns.event_id == any_of(event_ids))
        with translated(), self._engine.begin() as connection:
            again = dead.values(dead_at=None, first_at=now, next_at=now)
            count = connection.execute(again).rowcount
            told = {"endpoint_id": endpoint_id, "event_ids": event_ids, "events": count}
            _record(connection, Action.WEBHOOK_RESEND, actor, told)
        note_recorded()
        return count


def _of(entities: Collection[str] | None) -> list[ColumnElement[bool]]:
    """Of an endpoint that is there, and that a caller who may act for these entities may see."""
    if entities is None:
        return [_IS_THERE]
    return [_IS_THERE, webhook_endpoint.c.entities.contained_by(literal(sorted(entities), ARRAY(Text)))]


def _visible(entities: Collection[str] | None) -> Any:
    return select(webhook_endpoint).where(*_of(entities))


def _record(connection: Connection, action: Action, actor: str, result: Mapping[str, Any]) -> None:
    record_change(connection.exec_driver_sql, action, actor, result=result)


def endpoint_from(row: Row[Any]) -> Endpoint:
    """An endpoint from a row of its table."""
    return Endpoint(
        row.endpoint_id,
        row.name,
        row.url,
        None if row.types is None else tuple(EventType(one) for one in row.types),
        row.account_id,
        None if row.entities is None else tuple(row.entities),
        row.is_ordered,
        EndpointState(row.state),
        Cursor(row.position, row.part, row.slot),
        row.created_by,
        row.created_at,
    )


def waiting_in(
    connection: Connection, endpoint_id: str, limit: int, *, after: Cursor | None = None, dead: bool = False
) -> list[Waiting]:
    """The first events that wait for an endpoint, in order: those that are tried again, or the dead."""
    columns = webhook_waiting.c
    is_dead = columns.dead_at.is_not(None) if dead else columns.dead_at.is_(None)
    query = select(webhook_waiting).where(columns.endpoint_id == endpoint_id, is_dead)
    if after is not None:
        query = query.where(func.row(columns.position, columns.part, columns.slot) > func.row(*after))
    query = query.order_by(columns.position, columns.part, columns.slot).limit(limit)
    return [_waiting(row) for row in connection.execute(query)]


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(
        row.endpoint_id,
        Cursor(row.position, row.part, row.slot),
        row.event_id,
        row.event_type,
        tuple(row.account_ids),
        row.attempts,
        row.first_at,
        row.next_at,
        row.dead_at,
        row.last_failure,
    )


def _attempt(row: Row[Any]) -> LoggedAttempt:
    cursor = parse_cursor(row.sequence)
    assert cursor is not None
    attempt = Attempt(
        row.endpoint_id,
        row.event_id,
        row.event_type,
        cursor,
        row.number,
        row.url,
        row.started_at,
        row.duration_ms,
        row.status,
        row.answer,
    )
    return LoggedAttempt(row.attempt_id, attempt, row.is_delivered)
