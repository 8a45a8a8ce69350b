"""Authorizations on the scripts alone, on the services (`world`), and on the whole application (`api`)."""

from collections.abc import Iterator

import psycopg
import pytest

from app.domain.hash_chain import GENESIS_HASH
from tests.api.conftest import fresh_world
from tests.api.world import World
from tests.cache.conftest import cache
from tests.databases import Databases

__all__ = ["cache"]

WRITTEN = [
    "hold_event",
    "hold",
    "payment_rejection",
    "payment_duplicate",
    "payment_return",
    "entry",
    "ledger_transaction",
    "account_balance",
    "account",
    "audit_event WHERE action NOT LIKE 'key.%'",
    "audit_call WHERE action IS NULL OR action NOT LIKE 'key.%'",
    "event_notice",
    "event_log",
    "event_held",
    "event_floor",
    "conflict_count",
    "reconciliation_break_event",
    "reconciliation_break",
    "reconciliation_run",
    "reconciliation_cursor",
    "chain_head_export",
]


@pytest.fixture(scope="module")
def application(databases: Databases) -> Iterator[World]:
    """One application for all tests of a module; a database for each would take most of their time."""
    with fresh_world(databases, World) as world:
        yield world


@pytest.fixture
def api(application: World) -> World:
    """The application over an empty ledger and cache, with an account that has 1,000, and two that have nothing."""
    application.cache.flushdb()
    with psycopg.connect(application.settings.owner_database_url) as connection:
        connection.execute("SET session_replication_role = replica")  # the guards refuse to delete
        for table in WRITTEN:
            connection.execute(f"DELETE FROM {table}".encode())
        connection.execute("UPDATE partition SET chain_seq = 0, last_position = '', chain_hash = %s", [GENESIS_HASH])
        connection.execute("UPDATE event_chain SET chain_seq = 0")
        connection.execute("UPDATE ledger_setting SET value = value + 1 WHERE name = 'directory_version'")
    application.services.directory.refresh()
    application.funded("alice", 1_000)
    application.account("bob")
    application.account("carol")
    return application
