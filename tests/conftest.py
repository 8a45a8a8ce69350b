"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import argon2
import pytest
import redis
from argon2.profiles import CHEAPEST
from flask import Flask
from hypothesis import HealthCheck, settings
from jinja2 import FileSystemBytecodeCache

from app.embedded.servers import ServerUrls
from app.services.access import api_keys as keys
from app.services.access import sign_in
from tests.builders import PARTITIONS
from tests.databases import Databases, with_database
from tests.patience import CACHE_DEADLINE_S, PATIENCE_S
from tests.servers import embedded_servers
from tests.world import World

os.environ["HOLDFAST_CACHE_DEADLINE_S"] = str(CACHE_DEADLINE_S)  # for the processes that tests start

CACHE_DATABASE = "9"
"""Another logical database than the application's, so that a test may flush it."""

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("suite", max_examples=100, **_common)
settings.register_profile("long", max_examples=2_000, **_common)
settings.load_profile("long" if os.environ.get("HOLDFAST_LONG") == "1" else "suite")


TESTS = Path(__file__).parent

SLOWEST_FIRST = ("system", "embedded", "bench", "batches")
"""Rooms whose files take minutes: begun last, one of them would keep a single worker busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the slow rooms to the front, otherwise in the order of the files."""
    order = {name: number for number, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.relative_to(TESTS).parts[0], len(order)))


@pytest.fixture(scope="session", autouse=True)
def patient_key_checks() -> Iterator[None]:
    """The first look-up of a key opens a connection, and a busy machine may take its time for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "CHECK_DEADLINE_S", PATIENCE_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Hashes of passwords are slow on purpose, and most tests only want somebody signed in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sign_in, "PasswordHasher", lambda: argon2.PasswordHasher.from_parameters(CHEAPEST))
        yield


@pytest.fixture(scope="session", autouse=True)
def templates_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The pages of each test are an application of its own, and compiling their templates takes longer than most."""
    with pytest.MonkeyPatch.context() as patch:
        compiled = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": compiled})
        yield


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUrls]:
    """One real Postgres and one real Valkey for the whole session, migrated."""
    with embedded_servers(tmp_path_factory.mktemp("servers")) as urls:
        yield urls


@pytest.fixture(scope="session")
def databases(servers: ServerUrls) -> Iterator[Databases]:
    """Databases with as many partitions as a user has."""
    databases = Databases(servers)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def few_partitions(servers: ServerUrls) -> Iterator[Databases]:
    """Databases with few partitions, so that a few payments already meet in one and in several."""
    databases = Databases(servers, PARTITIONS)
    yield databases
    databases.close()


@pytest.fixture
def empty_cache(servers: ServerUrls) -> str:
    """The URL of an empty cache on the real server."""
    url = with_database(servers.redis_url, CACHE_DATABASE)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def fresh_urls(few_partitions: Databases, empty_cache: str) -> Iterator[ServerUrls]:
    """A database of the test's own and an empty cache."""
    with few_partitions.lent() as urls:
        yield replace(urls, redis_url=empty_cache)


@pytest.fixture
def world(fresh_urls: ServerUrls) -> Iterator[World]:
    """Cache, ledger and services, all real and empty."""
    world = World(fresh_urls)
    yield world
    world.close()
