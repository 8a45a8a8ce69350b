"""The drain alone: an outbox filled while nobody drains, then posted at full speed; against bare COPY of its rows."""

import time

import psycopg

from app.services.posting.drain import BATCH_LIMIT
from bench.arena import Arena
from bench.drive import Outcome
from bench.figures import Round, ticks_of
from bench.inside import Inside
from bench.load import workload
from bench.load.workload import Workload

ONE, ALL = "Holdfast, one drain process", "Holdfast, all drain processes"
COPY = "(f) bare COPY, one connection"


def run(arena: Arena) -> None:
    """One drain process against one connection that copies; all drain processes beside them."""
    drawn = workload.uniform(arena.options.accounts)
    inside = Inside(arena.system)
    for number in range(arena.options.rounds):
        for title, count in ((ONE, 1), (ALL, None)):
            one, name = _drained(arena, inside, drawn, count)
            arena.figures.add("drain", title, 0, one, "payments/s")
            arena.say(f"drain, round {number + 1}: {title}: {one.rate:,.0f}/s")
        copied = _copied(arena, name)
        arena.figures.add("drain", COPY, 0, copied, "payments/s")
        arena.say(f"drain, round {number + 1}: {COPY}: {copied.rate:,.0f}/s")


def _drained(arena: Arena, inside: Inside, drawn: Workload, processes: int | None) -> tuple[Round, str]:
    name = arena.new_run()
    arena.system.stop_drains()
    try:
        acknowledged = inside.submit(name, drawn, arena.options.payments)
    finally:
        arena.system.start_drains(processes)
    outcome = Outcome(Round(0.0), acknowledged=set(acknowledged))
    arena.holdfast.finish(name, drawn, outcome, 1.0)
    arena.system.start_drains()
    outcome.round.rate = _posting_rate(arena, name, outcome.round)
    outcome.round.extra.clear()  # the wait includes the start of the processes
    return outcome.round, name


def _posting_rate(arena: Arena, name: str, one: Round) -> float:
    """By the ledger's own stamps: what was posted from the first batch's stamp to the last one's."""
    rows = arena.system.database.execute(
        """SELECT extract(epoch FROM posted_at)::float, count(*) FROM ledger_transaction
        WHERE external_id >= %s AND external_id < %s GROUP BY 1 ORDER BY 1""",
        (f"{name}-", f"{name}."),
    ).fetchall()
    moments = [moment for moment, count in rows for _ in range(count)]
    one.ticks = ticks_of(moments)
    seconds = rows[-1][0] - rows[0][0] if len(rows) > 1 else 0.0
    if not seconds:
        one.problems.append("too few payments for a rate: they were posted in one batch")
        return 0.0
    return (len(moments) - int(rows[-1][1])) / seconds


def _copied(arena: Arena, name: str) -> Round:
    """The rows of a run once more into tables with the same columns, keys and indexes, in batches of the same size."""
    database = arena.system.database
    transactions, entries = Table(database, "ledger_transaction"), Table(database, "entry")
    rows = transactions.rows("SELECT {} FROM ledger_transaction WHERE external_id >= %s AND external_id < %s", name)
    lines: dict[tuple[int, int], list[tuple]] = {}
    query = """SELECT {} FROM entry WHERE (partition, chain_seq) IN (SELECT partition, chain_seq
        FROM ledger_transaction WHERE external_id >= %s AND external_id < %s)"""
    for line in entries.rows(query, name):
        lines.setdefault(entries.key(line), []).append(line)
    rows.sort(key=lambda row: row[transactions.columns.index("posted_at")])
    with psycopg.connect(arena.system.urls.owner_database_url) as connection:
        began = time.monotonic()
        for start in range(0, len(rows), BATCH_LIMIT):
            batch = rows[start : start + BATCH_LIMIT]
            transactions.copy(connection, batch)
            entries.copy(connection, [line for row in batch for line in lines[transactions.key(row)]])
            connection.commit()
        seconds = time.monotonic() - began
    return Round(len(rows) / seconds)


class Table:
    """One table of the ledger, and its empty twin without triggers."""

    def __init__(self, database: psycopg.Connection, name: str) -> None:
        self._database = database
        self._twin = f"bench_{name}"
        database.execute(f"DROP TABLE IF EXISTS {self._twin}")
        database.execute(f"CREATE TABLE {self._twin} (LIKE {name} INCLUDING ALL)")
        described = database.execute(
            """SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = %s
            ORDER BY ordinal_position""",
            (name,),
        ).fetchall()
        self.columns = [row[0] for row in described]
        self._types = [row[1] for row in described]

    def rows(self, query: str, run: str) -> list[tuple]:
        """The rows of a run; `{}` in the query stands for the columns."""
        return self._database.execute(query.format(", ".join(self.columns)), (f"{run}-", f"{run}.")).fetchall()

    def key(self, row: tuple) -> tuple[int, int]:
        """The transaction that a row belongs to."""
        return row[self.columns.index("partition")], row[self.columns.index("chain_seq")]

    def copy(self, connection: psycopg.Connection, rows: list[tuple]) -> None:
        """Into the twin, in binary form."""
        statement = f"COPY {self._twin} ({', '.join(self.columns)}) FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(self._types)
            for row in rows:
                copy.write_row(row)
