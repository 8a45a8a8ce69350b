"""Upgrading: a released schema with history in it becomes the present one, and its history is proven.

`released/ledger_0004.json` is the ledger that the release with that schema wrote: two payments, an authorization that
was voided and one that is open. Each table is in the text format of COPY.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg import sql

from app.embedded.servers import ServerUrls
from app.ledger import migrate
from tests.builders import PARTITIONS
from tests.databases import with_database
from tests.world import World

RELEASED = "0004"
LEDGER = Path(__file__).parent / "released" / f"ledger_{RELEASED}.json"


def restore(connection: psycopg.Connection[Any]) -> None:
    """Write the released ledger into its schema, in place of what the migrations wrote."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for name, content in json.loads(LEDGER.read_text()).items():
            table, columns = sql.Identifier(name), sql.SQL(",").join(map(sql.Identifier, content["columns"]))
            connection.execute(sql.SQL("DELETE FROM {}").format(table))
            with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)) as copy:
                copy.write("".join(f"{row}\n" for row in content["rows"]))
        counted = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE is_identity = 'YES'"
            " AND table_schema = 'public'"
        ).fetchall()
        for name, column in counted:
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence(%s, %s), coalesce(max({}), 0) + 1) FROM {}").format(
                    sql.Identifier(column), sql.Identifier(name)
                ),
                (name, column),
            )


@pytest.fixture
def released(servers: ServerUrls, empty_cache: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An installation whose schema and ledger are the released ones, and whose cache is empty."""
    name = "released"
    with psycopg.connect(with_database(servers.owner_database_url, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        urls = replace(
            servers,
            owner_database_url=with_database(servers.owner_database_url, name),
            database_url=with_database(servers.database_url, name),
            redis_url=empty_cache,
        )
        upgrade = command.upgrade
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _: upgrade(config, RELEASED))
            migrate.upgrade(urls.owner_database_url, PARTITIONS)
        world = World(urls)
        restore(world.owner)
        yield world
        world.close()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_released_ledger_is_upgraded_and_proven(released: World) -> None:
    transactions = "SELECT * FROM ledger_transaction ORDER BY partition, chain_seq"
    before = released.rows(transactions)
    assert len(before) == 2

    migrate.upgrade(released.urls.owner_database_url)

    assert migrate.is_current(released.engine)
    assert migrate.metadata_differences(released.urls.owner_database_url) == []
    assert released.rows(transactions) == before
    released.assert_proven()
    released.accepted("alice", "bob", 20, external_id="after")
    released.drain()
    released.assert_proven()
    assert released.booked("bob") == 30
