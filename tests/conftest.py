"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from app.embedded.servers import ServerUrls
from app.ledger.migrate import upgrade
from tests.builders import PARTITIONS, Urls, World, database_from, with_database
from tests.servers import embedded_servers

TEMPLATE = "migrated_books"
CACHE_DATABASE = "9"
"""Another logical database than the application's, so that a test may flush it."""

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("suite", max_examples=100, **_common)
settings.register_profile("long", max_examples=2_000, **_common)
settings.load_profile("long" if os.environ.get("HOLDFAST_LONG") == "1" else "suite")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUrls]:
    """One real Postgres and one real Valkey for the whole session, migrated."""
    with embedded_servers(tmp_path_factory.mktemp("servers")) as urls:
        yield urls


@pytest.fixture(scope="session")
def books_template(servers: ServerUrls) -> str:
    """The name of a migrated database that nobody uses; tests get copies of it."""
    with psycopg.connect(with_database(servers.owner_database_url, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
    upgrade(with_database(servers.owner_database_url, TEMPLATE), PARTITIONS)
    return TEMPLATE


@pytest.fixture
def empty_cache(servers: ServerUrls) -> str:
    """The URL of an empty cache on the real server."""
    url = with_database(servers.redis_url, CACHE_DATABASE)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def fresh_urls(servers: ServerUrls, books_template: str, empty_cache: str) -> Iterator[Urls]:
    """A database of the test's own and an empty cache."""
    with database_from(books_template, servers.owner_database_url) as name:
        yield Urls(
            with_database(servers.owner_database_url, name), with_database(servers.database_url, name), empty_cache
        )


@pytest.fixture
def world(fresh_urls: Urls) -> Iterator[World]:
    """Cache, books and services, all real and empty."""
    world = World(fresh_urls)
    yield world
    world.close()
