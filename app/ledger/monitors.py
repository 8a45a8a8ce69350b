"""Balance monitors in the ledger: made, ended and read; and what their follower reads and writes."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.domain.audit import Action
from app.domain.monitors import Comparison, Judged, Measure, Monitor, NewMonitor
from app.domain.origin import note_recorded
from app.ledger.audit_records import record_change
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.schema import account
from app.ledger.webhook_schema import balance_monitor, monitor_crossing

_NOW = text("""
SELECT b.balance_minor, b.entry_count, coalesce(h.held_minor, 0), coalesce(b.floor_minor, 0),
    (SELECT position FROM event_head)
FROM account_balance b LEFT JOIN LATERAL (SELECT held_minor FROM event_held h WHERE h.account_id = b.account_id
    ORDER BY position DESC LIMIT 1) h ON true
WHERE b.account_id = :account_id
""")
_WITH_NEWS = text("""
SELECT m.* FROM balance_monitor m JOIN account_balance b USING (account_id)
WHERE m.ended_at IS NULL AND (b.entry_count > m.entry_number
    OR EXISTS (SELECT FROM event_held h WHERE h.account_id = m.account_id AND h.position > m.position))
ORDER BY m.account_id, m.monitor_id LIMIT :limit
""")
MONITORS_AT_ONCE = 1_000


class LedgerMonitors:
    """The monitors. With `entities` only those of their accounts are found."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, monitor_id: str, entities: Collection[str] | None = None) -> Monitor | None:
        """One monitor; None if there is none."""
        with translated(), self._engine.connect() as connection:
            row = connection.execute(_visible(entities).where(balance_monitor.c.monitor_id == monitor_id)).first()
        return None if row is None else _monitor(row)

    def page(
        self,
        *,
        limit: int,
        after: str | None = None,
        account_id: str | None = None,
        entities: Collection[str] | None = None,
    ) -> list[Monitor]:
        """Up to `limit` monitors that have not ended, by id, those after monitor `after`."""
        query = _visible(entities).where(balance_monitor.c.ended_at.is_(None))
        if after is not None:
            query = query.where(balance_monitor.c.monitor_id > after)
        if account_id is not None:
            query = query.where(balance_monitor.c.account_id == account_id)
        with translated(), self._engine.connect() as connection:
            rows = connection.execute(query.order_by(balance_monitor.c.monitor_id).limit(limit))
            return [_monitor(row) for row in rows]

    def add(self, monitor_id: str, new: NewMonitor, actor: str) -> Monitor | None:
        """Make a monitor that tells when its condition turns from now on; None if there is no such account."""
        with translated(), self._engine.begin() as connection:
            found = connection.execute(_NOW, {"account_id": new.account_id}).first()
            if found is None:
                return None
            balance_minor, entry_number, held_minor, floor_minor, position = found
            values = {
                Measure.BALANCE: balance_minor,
                Measure.HELD: held_minor,
                Measure.AVAILABLE: balance_minor - held_minor - floor_minor,
            }
            told = {
                "monitor_id": monitor_id,
                "account_id": new.account_id,
                "measure": new.measure.value,
                "comparison": new.comparison.value,
                "threshold_minor": new.threshold_minor,
                "name": new.name,
            }
            place = {"entry_number": entry_number, "position": position}
            made = insert(balance_monitor).values(
                **told, is_met=new.holds_at(values[new.measure]), **place, created_by=actor
            )
            row = connection.execute(made.returning(*balance_monitor.c)).one()
            execute = connection.exec_driver_sql
            record_change(execute, Action.MONITOR_CREATE, actor, account_id=new.account_id, result=told)
        note_recorded()
        return _monitor(row)

    def end(self, monitor_id: str, actor: str) -> Monitor | None:
        """End a monitor, once; None if there is none."""
        mine = balance_monitor.c.monitor_id == monitor_id
        ended = update(balance_monitor).where(mine, balance_monitor.c.ended_at.is_(None))
        with translated(), self._engine.begin() as connection:
            row = connection.execute(
                ended.values(ended_at=func.clock_timestamp()).returning(*balance_monitor.c)
            ).first()
            if row is None:
                found = connection.execute(select(balance_monitor).where(mine)).first()
                return None if found is None else _monitor(found)
            execute, told = connection.exec_driver_sql, {"monitor_id": monitor_id}
            record_change(execute, Action.MONITOR_END, actor, account_id=row.account_id, result=told)
        note_recorded()
        return _monitor(row)

    # The follower's side

    def are_any(self) -> bool:
        """Whether there is a monitor that has not ended."""
        query = select(balance_monitor.c.monitor_id).where(balance_monitor.c.ended_at.is_(None)).limit(1)
        with translated(), self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def with_news(self) -> list[Monitor]:
        """Monitors whose accounts have changed since they were looked at, by account."""
        with translated(), self._engine.connect() as connection:
            return [_monitor(row) for row in connection.execute(_WITH_NEWS, {"limit": MONITORS_AT_ONCE})]

    def record(self, judged: Sequence[Judged]) -> int:
        """Write what has become of monitors, with their crossings; returns how many crossings are new.

        A monitor that another process has judged meanwhile is left as that one left it.
        """
        count = 0
        with translated(), self._engine.begin() as connection:
            for one in judged:
                columns, before = balance_monitor.c, one.before
                mine = (columns.monitor_id == before.monitor_id, columns.ended_at.is_(None))
                as_read = (columns.entry_number == before.entry_number, columns.position == before.position)
                place = {"is_met": one.is_met, "entry_number": one.entry_number, "position": one.position}
                if not connection.execute(update(balance_monitor).where(*mine, *as_read).values(**place)).rowcount:
                    continue
                for crossing in one.crossings:
                    row = {
                        "monitor_id": crossing.monitor_id,
                        "is_met": crossing.is_met,
                        "value_minor": crossing.value_minor,
                        "account_version": crossing.event.version,
                        "event_id": crossing.event.event_id,
                        "crossed_at": crossing.event.at,
                    }
                    count += connection.execute(upsert(monitor_crossing).values(**row)).rowcount
        return count


def _visible(entities: Collection[str] | None) -> Any:
    query = select(balance_monitor)
    if entities is None:
        return query
    return query.join(account, account.c.account_id == balance_monitor.c.account_id).where(
        account.c.entity_id == any_of(sorted(entities))
    )


def _monitor(row: Row[Any]) -> Monitor:
    return Monitor(
        row.monitor_id,
        NewMonitor(row.account_id, Measure(row.measure), Comparison(row.comparison), row.threshold_minor, row.name),
        row.is_met,
        row.entry_number,
        row.position,
        row.created_by,
        row.created_at,
        row.ended_at,
    )
