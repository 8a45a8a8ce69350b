"""Migrated databases for tests: each is lent to one test at a time and emptied after it.

To copy a database costs a busy machine some hundred milliseconds and its first connections as much again, to empty one
a tenth of that. One whose schema a test has changed, or that has grown large, is not lent again.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from app.domain.payment import DEFAULT_PARTITIONS
from app.embedded.servers import ServerUrls
from app.ledger.migrate import upgrade
from tests.patience import until

LARGE_BYTES = 4 * 2**20
"""What a database may weigh, with the dead rows of all tests that used it, before a new one is the faster one."""

_TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'audit'::regnamespace) ORDER BY relname
"""

_WEIGHT = """
    SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'audit'::regnamespace)
"""

# Every change of the schema writes a row of one of these; reading, writing, VACUUM and ANALYZE leave them alone.
_SCHEMA = """
    WITH relation AS (
        SELECT oid, xmin FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'audit'::regnamespace)
    ),
    part (of, id, version) AS (
        SELECT 'relation', oid::text, xmin::text FROM relation
        UNION ALL SELECT 'column', attrelid || '.' || attnum, xmin::text FROM pg_attribute
                  WHERE attrelid IN (SELECT oid FROM relation)
        UNION ALL SELECT 'constraint', oid::text, xmin::text FROM pg_constraint
                  WHERE conrelid IN (SELECT oid FROM relation)
        UNION ALL SELECT 'trigger', oid::text, xmin::text FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relation)
        UNION ALL SELECT 'rule', oid::text, xmin::text FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relation)
        UNION ALL SELECT 'function', oid::text, xmin::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    )
    SELECT md5(string_agg(of || id || ':' || version, ',' ORDER BY of, id)) FROM part
"""

_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL
    FROM pg_sequences WHERE schemaname = 'public'
"""

_OTHERS = """
    SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def with_database(url: str, name: str) -> str:
    """The same server and role, another database (or logical database of the cache)."""
    if url.startswith("unix:"):
        return f"{url.partition('?')[0]}?db={name}"
    return f"{url.rpartition('/')[0]}/{name}"


@dataclass(frozen=True)
class Lendable:
    """A migrated database, and what it takes to make it so again, or to see that this is not possible."""

    name: str
    keeper: psycopg.Connection
    schema: str
    emptying: sql.Composed
    seeds: dict[str, bytes]
    sequences: list[tuple[str, int, bool]]

    @classmethod
    def of(cls, name: str, keeper: psycopg.Connection) -> "Lendable":
        """What there is to know about a new one; the keeper is its connection for as long as it lives."""
        keeper.execute("SET session_replication_role = replica")  # the guards refuse to delete
        tables = [str(table) for (table,) in keeper.execute(_TABLES)]
        content = {table: _content(keeper, table) for table in tables}
        return cls(
            name,
            keeper,
            _schema(keeper),
            sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(sql.SQL(table)) for table in tables),
            {table: rows for table, rows in content.items() if rows},
            list(keeper.execute(_SEQUENCES)),
        )

    def is_as_lent(self) -> bool:
        """Empties it; False if that would not make it what it was."""
        until(lambda: not self.keeper.execute(_OTHERS).fetchall())
        (weight,) = self.keeper.execute(_WEIGHT).fetchone() or (0,)
        if weight > LARGE_BYTES or _schema(self.keeper) != self.schema:
            return False
        with self.keeper.transaction():
            self.keeper.execute(self.emptying)
            for table, rows in self.seeds.items():
                with self.keeper.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.SQL(table))) as copy:
                    copy.write(rows)
            for sequence in self.sequences:
                self.keeper.execute("SELECT setval(%s, %s, %s)", sequence)
        return True


class Databases:
    """Those of one server that have the same number of partitions."""

    def __init__(self, servers: ServerUrls, partitions: int = DEFAULT_PARTITIONS) -> None:
        self._servers = servers
        self._partitions = partitions
        self._template: str | None = None
        self._free: list[Lendable] = []

    @contextmanager
    def lent(self) -> Iterator[ServerUrls]:
        """The servers, with a migrated database in which nothing has happened."""
        one = self._free.pop() if self._free else self._new()
        try:
            yield replace(
                self._servers,
                owner_database_url=with_database(self._servers.owner_database_url, one.name),
                database_url=with_database(self._servers.database_url, one.name),
            )
        finally:
            if one.is_as_lent():
                self._free.append(one)
            else:
                self._drop(one)

    def close(self) -> None:
        """Gives the connections back; the databases go with their server."""
        for one in self._free:
            one.keeper.close()

    def _new(self) -> Lendable:
        name = f"ledger_{secrets.token_hex(6)}"
        template = self._migrated()
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Lendable.of(name, self._connected(name))

    def _migrated(self) -> str:
        """The one that all others are copies of, because to copy is quicker than to migrate."""
        if self._template is None:
            name = f"template_{secrets.token_hex(6)}"
            self._administer(f"CREATE DATABASE {name}")
            upgrade(with_database(self._servers.owner_database_url, name), self._partitions)
            self._template = name
        return self._template

    def _drop(self, one: Lendable) -> None:
        one.keeper.close()
        self._administer(f"DROP DATABASE {one.name} WITH (FORCE)")

    def _administer(self, statement: str) -> None:
        with self._connected("postgres") as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def _connected(self, name: str) -> psycopg.Connection:
        return psycopg.connect(with_database(self._servers.owner_database_url, name), autocommit=True)


def _content(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.SQL(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def _schema(connection: psycopg.Connection) -> str:
    (found,) = connection.execute(_SCHEMA).fetchone() or ("",)
    return str(found)
