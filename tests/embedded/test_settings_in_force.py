"""The durability that the ledger rests on is asked of the running servers, not read from our own files."""

import psycopg
import pytest
import redis

from app.embedded.postgres import buffers_mb
from app.embedded.servers import ServerUrls


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("server_encoding", "UTF8"),
        ("wal_compression", "off"),
        ("max_wal_size", "4GB"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
    ],
)
def test_postgres_runs_with_the_setting(servers: ServerUrls, setting: str, expected: str) -> None:
    with psycopg.connect(servers.owner_database_url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
    assert row == (expected,)


def test_postgres_takes_a_quarter_of_the_memory_for_pages_and_a_gigabyte_at_the_most(servers: ServerUrls) -> None:
    with psycopg.connect(servers.owner_database_url) as connection:
        row = connection.execute("SELECT pg_size_bytes(current_setting('shared_buffers')) / 1024 / 1024").fetchone()
    assert row is not None
    assert 128 <= row[0] <= 1_024
    assert row[0] == buffers_mb()


def test_the_database_sorts_by_bytes(servers: ServerUrls) -> None:
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute(
            "SELECT datcollate, datctype FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("C", "C")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("aof-use-rdb-preamble", "yes"),
        ("save", ""),
        ("maxmemory-policy", "noeviction"),
        ("io-threads", "1"),
        ("bind", "127.0.0.1"),
    ],
)
def test_the_cache_runs_with_the_setting(servers: ServerUrls, setting: str, expected: str) -> None:
    client = redis.Redis.from_url(servers.redis_url, decode_responses=True)
    assert client.config_get(setting) == {setting: expected}


def test_the_application_role_is_an_ordinary_one(servers: ServerUrls) -> None:
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row == (False, False, False, False)


def test_a_wrong_password_opens_neither(servers: ServerUrls) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(servers.database_url.replace("holdfast_app:", "holdfast_app:x"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(servers.redis_url.replace("://:", "://:x")).ping()
