"""What operators look at in the ledger: sessions, the heads of the chains, conflicts by hour."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select, text

from app.domain.heat import ConflictHour
from app.ledger.connections import translated
from app.ledger.engine import any_of
from app.ledger.operations_schema import conflict_hour
from app.ledger.schema import account, partition

_SESSIONS = text("""
SELECT application_name, count(*), count(*) FILTER (WHERE state = 'active'),
    count(*) FILTER (WHERE wait_event_type = 'Lock'), min(backend_start)
FROM pg_stat_activity WHERE application_name LIKE 'holdfast%' AND datname = current_database()
GROUP BY application_name ORDER BY application_name
""")


@dataclass(slots=True, frozen=True)
class Sessions:
    """The connections of one kind of process."""

    name: str
    connections: int
    at_work: int
    waiting: int
    """Those that wait for a lock."""
    oldest_at: datetime


@dataclass(slots=True, frozen=True)
class ChainEnd:
    """How far a hash chain has come."""

    partition: int
    chain_seq: int
    last_posted_at: datetime


class LedgerOperations:
    """Reads what operators look at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def sessions(self) -> list[Sessions]:
        """The connections by what they are for."""
        with translated(), self._engine.connect() as connection:
            return [Sessions(*row) for row in connection.execute(_SESSIONS)]

    def chain_ends(self) -> list[ChainEnd]:
        """The end of each chain; the last one is that of journals and refunds."""
        query = select(partition.c.partition, partition.c.chain_seq, partition.c.last_posted_at)
        with translated(), self._engine.connect() as connection:
            return [ChainEnd(*row) for row in connection.execute(query.order_by(partition.c.partition))]

    def conflict_hours(
        self,
        from_time: datetime,
        to_time: datetime,
        *,
        begins_with: str = "",
        limit: int,
        entities: Collection[str] | None = None,
    ) -> list[ConflictHour]:
        """Up to `limit` counts of the hours that begin in a time, the newest hour first, those with most first."""
        query = (
            select(conflict_hour)
            .where(conflict_hour.c.hour >= from_time, conflict_hour.c.hour < to_time)
            .order_by(conflict_hour.c.hour.desc(), conflict_hour.c.retries.desc(), conflict_hour.c.account_id)
        )
        if begins_with:
            query = query.where(func.starts_with(conflict_hour.c.account_id, begins_with))
        if entities is not None:
            query = query.join(account, account.c.account_id == conflict_hour.c.account_id)
            query = query.where(account.c.entity_id == any_of(sorted(entities)))
        with translated(), self._engine.connect() as connection:
            return [ConflictHour(*row) for row in connection.execute(query.limit(limit))]
