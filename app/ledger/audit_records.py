"""Writing the audit: a change's record in the change's own transaction, and the gathered records of all other calls."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

from app.domain.actors import KEY_ACTOR, key_actor
from app.domain.audit import Action, CallRecord, bounded_path, bounded_text
from app.domain.origin import current_origin
from app.domain.timestamps import from_milliseconds
from app.ledger.connections import SILENCE_S, LedgerConnection, SessionLimits, connect

log = logging.getLogger(__name__)

_INSERT = """
INSERT INTO audit_call (called_at, request_id, action, actor, key_id, entity_id, ip, method, route, path, status, code,
    duration_us, account_id, payment_id, external_id, request, request_bytes, response, response_bytes, calls)
VALUES (coalesce(%(called_at)s, date_trunc('milliseconds', clock_timestamp())), %(request_id)s, %(action)s, %(actor)s,
    %(key_id)s, %(entity_id)s, %(ip)s, %(method)s, %(route)s, %(path)s, %(status)s, %(code)s, %(duration_us)s,
    %(account_id)s, %(payment_id)s, %(external_id)s, %(request)s, %(request_bytes)s, %(response)s, %(response_bytes)s,
    %(calls)s)
"""
_COPY = """
COPY audit_call (called_at, request_id, action, actor, key_id, entity_id, ip, method, route, path, status, code,
    duration_us, account_id, payment_id, external_id, request, request_bytes, response, response_bytes, calls)
FROM STDIN
"""
_further_values = attrgetter(
    "request_id", "action", "actor", "key_id", "entity_id", "ip", "method", "route", "path", "status", "code",
    "duration_us", "account_id", "payment_id", "external_id", "request", "request_bytes", "response", "response_bytes",
    "calls",
)  # fmt: skip
"""What follows the time, in the order of _COPY."""
_IS_WRITTEN = "SELECT EXISTS (SELECT FROM audit_call WHERE request_id = %s AND called_at = %s AND status = %s)"

FLUSH_LIMIT_S = 5.0
"""Records are written in milliseconds; a ledger that takes longer is in trouble, and they wait."""

MONTHS_AHEAD = 3
"""So many months a scheduler may be away before records go where no retention drops them."""

Execute = Callable[[str, Mapping[str, Any]], Any]
"""A connection's way to run a statement of the driver: `exec_driver_sql` of SQLAlchemy, or `execute`."""


def record_change(
    execute: Execute,
    action: Action,
    actor: str,
    *,
    entity_id: str | None = None,
    account_id: str | None = None,
    payment_id: str | None = None,
    external_id: str | None = None,
    result: Any = None,
) -> None:
    """Record a change in its own transaction: where it comes from, and its `result`, which must fit into JSON.

    Call `note_recorded` once the transaction has been committed.
    """
    record = _of_origin(actor)
    record.action = action.value
    if actor.startswith(KEY_ACTOR):
        record.key_id = actor.removeprefix(KEY_ACTOR)
    else:
        record.actor = actor
    record.entity_id, record.account_id = entity_id, account_id
    record.payment_id, record.external_id = payment_id, external_id
    if result is not None:
        answer = json.dumps(result, default=_plain, ensure_ascii=False).encode(errors="replace")
        record.response, record.response_bytes = bounded_text(answer), len(answer)
    called_at_ms = record.called_at_ms
    execute(_INSERT, {"called_at": from_milliseconds(called_at_ms) if called_at_ms else None, **asdict(record)})


def _of_origin(actor: str) -> CallRecord:
    """What is known of where a change comes from; nothing of one that a call only happened to bring about."""
    origin = current_origin()
    if origin is None or actor != (key_actor(origin.key_id) if origin.key_id else origin.actor or actor):
        return CallRecord(called_at_ms=0)
    origin.has_change = True
    return CallRecord(
        called_at_ms=origin.received_at_ms,
        request_id=origin.request_id,
        ip=origin.ip,
        method=origin.method,
        route=origin.route,
        path=bounded_path(origin.path),
        status=origin.status,
        duration_us=(time.monotonic_ns() - origin.began_ns) // 1_000 if origin.began_ns else None,
        request=bounded_text(origin.request),
        request_bytes=origin.request_bytes or None,
    )


def _plain(value: object) -> object:
    """A value that JSON has no form for."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


class LedgerAudit:
    """The audit as a process of the API writes to it, over a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._ledger = LedgerConnection(
            partial(
                connect,
                database_url,
                application_name="holdfast audit",
                limits=SessionLimits(FLUSH_LIMIT_S),
                patience_s=FLUSH_LIMIT_S + SILENCE_S,
            ),
            checks_idle=True,
        )

    def append(self, records: Sequence[CallRecord], *, may_be_written: bool = False) -> None:
        """Write records, all or none. With `may_be_written` an earlier try ended without an answer; it counts."""
        rows = [(from_milliseconds(record.called_at_ms), *_further_values(record)) for record in records]
        with self._ledger.transaction() as connection:
            if may_be_written:
                known = next((one for one in records if one.request_id is not None), None)
                if known is not None:
                    moment = from_milliseconds(known.called_at_ms)
                    found = connection.execute(_IS_WRITTEN, (known.request_id, moment, known.status)).fetchone()
                    if found == (True,):
                        return
            with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                for row in rows:
                    copy.write_row(row)

    def close(self) -> None:
        """Give the connection back."""
        self._ledger.close()


class AuditMonths:
    """The months of the audit: made ahead, and dropped when their time is over."""

    def __init__(self, database_url: str) -> None:
        limits = SessionLimits(lock_timeout_ms=1_000)
        self._ledger = LedgerConnection(
            partial(connect, database_url, application_name="holdfast audit months", limits=limits), checks_idle=True
        )

    def run_once(self) -> None:
        """Make the coming months, and drop those that are past the retention; says what was dropped."""
        self.make()
        dropped = self.drop_expired()
        if dropped:
            log.info("%d months of the audit were past the retention and are dropped", dropped)

    def make(self) -> int:
        """Make the partitions of this month and the next ones; returns how many were missing."""
        [(made,)] = self._ledger.rows("SELECT audit_make_months(%s)", (MONTHS_AHEAD,))
        return int(made)

    def drop_expired(self) -> int:
        """Drop the months that are past the retention, each with its record; returns how many."""
        [(dropped,)] = self._ledger.rows("SELECT audit_drop_expired()")
        return int(dropped)
