"""Upgrading: a released schema with history in it becomes the present one, and its history is proven."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from alembic import command

from app.embedded.servers import ServerUrls
from app.ledger import migrate
from tests.builders import PARTITIONS
from tests.databases import with_database
from tests.services.tampering import authorize, void
from tests.world import World

RELEASED = "0004"


@pytest.fixture
def released(servers: ServerUrls, empty_cache: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An installation whose schema is the released one."""
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
        yield world
        world.close()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_released_schema_with_history_is_upgraded_and_proven(released: World) -> None:
    released.bank()
    released.account("alice", balance_minor=1_000)
    released.account("bob")
    released.accepted("alice", "bob", 10)
    void(released, authorize(released, 7))
    authorize(released, 5)
    released.drain()
    released.assert_proven()
    before = released.rows("SELECT * FROM ledger_transaction ORDER BY partition, chain_seq")

    migrate.upgrade(released.urls.owner_database_url)

    assert migrate.is_current(released.engine)
    assert migrate.metadata_differences(released.urls.owner_database_url) == []
    assert released.rows("SELECT * FROM ledger_transaction ORDER BY partition, chain_seq") == before
    released.accepted("alice", "bob", 20)
    released.drain()
    released.assert_proven()
    assert released.booked("bob") == 30
