"""The states of a ledger server, and what its sessions are limited to."""

import subprocess
import sys
import time
from signal import SIGSTOP

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from app.domain.errors import LedgerUnavailable, Misconfigured
from app.ledger.connections import APP_ROLE, POSTING_IDLE_S, LedgerConnection, SessionLimits, connect
from app.ledger.server_states import STATES, Effect, Means, is_stale, state_of
from tests.builders import PARTITIONS
from tests.world import World

TAKEOVER_S = 8.0
"""Within this time another drain posts what one that hangs has left: the server's patience, a look, and a margin."""


# What errors mean


@pytest.mark.parametrize(
    ("statement", "means", "drops"),
    [
        ("SET TRANSACTION READ ONLY; CREATE TABLE x ()", Means.UNAVAILABLE, True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$", Means.UNAVAILABLE, True),
        ("DO $$ BEGIN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P01'; END $$", Means.UNAVAILABLE, True),
        ("DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '57P03'; END $$", Means.UNAVAILABLE, True),
        ("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '08006'; END $$", Means.UNAVAILABLE, True),
        ("SET statement_timeout = 1; SELECT pg_sleep(10)", Means.UNAVAILABLE, True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Means.UNAVAILABLE, True),
        ("EXECUTE unknown", Means.UNAVAILABLE, True),
        ("SELECT 1 / 0", Means.VIOLATION, False),
        ("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$", Means.CONFLICT, False),
        ("SELECT * FROM no_such_table", Means.DEFECT, False),
    ],
)
def test_what_an_error_means_stands_in_one_table(world: World, statement: str, means: Means, drops: bool) -> None:
    with pytest.raises(psycopg.Error) as raised, world.connect() as connection:
        connection.execute(statement)  # type: ignore[call-overload]
    state = state_of(raised.value)
    assert (state.means, state.drops) == (means, drops)


def test_only_a_state_that_may_have_committed_is_unknown() -> None:
    assert STATES["25006"].effect is STATES["53"].effect is Effect.NOT_RUN
    assert STATES["57"].effect is STATES["08"].effect is Effect.UNKNOWN


# Who works


def test_a_session_has_its_role_and_limits_whatever_the_url_says(world: World) -> None:
    url = f"{world.settings.database_url}?options=-c%20search_path%3Dpublic%20-c%20work_mem%3D5MB"
    with connect(url, application_name="holdfast test", limits=SessionLimits(7, 20, 3, 5)) as connection:
        names = ("role", "application_name", "work_mem", "statement_timeout", "lock_timeout", "TimeZone",
                 "idle_in_transaction_session_timeout", "idle_session_timeout")  # fmt: skip
        found = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
    assert [row[0] for row in found if row] == [
        APP_ROLE, "holdfast test", "5MB", "7s", "20ms", "UTC", "3s", "5s",
    ]  # fmt: skip


def test_a_session_of_the_owner_acts_as_the_app_too(world: World) -> None:
    with connect(world.settings.owner_database_url, application_name="holdfast test") as connection:
        assert connection.execute("SELECT current_user").fetchone() == (APP_ROLE,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM entry")


def test_nobody_works_as_another_role(world: World) -> None:
    name = f"stranger_{conninfo_to_dict(world.settings.database_url)['dbname']}"
    world.owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")  # type: ignore[call-overload]
    try:
        url = psycopg.conninfo.make_conninfo(world.settings.database_url, user=name, password="secret")
        with pytest.raises(Misconfigured, match=APP_ROLE):
            connect(url, application_name="holdfast test")
    finally:
        world.owner.execute(f"DROP ROLE {name}")  # type: ignore[call-overload]


# Connections that have become useless


def test_a_column_that_changes_its_type_under_a_live_process_is_not_noticed(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    for _ in range(8):  # often enough for whatever is prepared by being repeated
        assert world.ledger_accounts.facts(["alice"])
        assert world.ledger_accounts.get("alice")
    world.owner.execute("ALTER TABLE account ALTER COLUMN currency_code TYPE varchar(20)")
    assert world.ledger_accounts.facts(["alice", "bank"]).keys() == {"alice", "bank"}
    assert world.ledger_accounts.balances_for_hydration(["alice"])[1]
    assert world.ledger_accounts.get("alice")
    world.accepted("alice", "bank", 1)
    world.drain()


def test_a_statement_that_the_server_has_forgotten_is_sent_again(world: World) -> None:
    ledger = LedgerConnection(lambda: world.connect(owner=False))
    pids = []

    def work(connection: psycopg.Connection) -> int:
        pids.append(connection.info.backend_pid)
        if len(pids) == 1:
            connection.execute("EXECUTE forgotten")
        return 7

    assert ledger.run(work) == 7
    assert len(set(pids)) == 2, "on another connection"


def test_what_fails_again_is_not_tried_for_ever(world: World) -> None:
    ledger = LedgerConnection(lambda: world.connect(owner=False))
    with pytest.raises(LedgerUnavailable) as raised:
        ledger.run(lambda connection: connection.execute("EXECUTE forgotten"))
    assert is_stale(raised.value)


# A drain that hangs

HANG = """
import sys, time
from contextlib import nullcontext
from app.ledger.posting_session import PostingSession
session = PostingSession(sys.argv[1])
with session.draining(range(int(sys.argv[2]))) as held:
    with session.posting(held) if sys.argv[3] == "in a transaction" else nullcontext():
        print("holds", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize("where", ["in a transaction", "between two transactions"])
def test_another_drain_takes_over_from_one_that_hangs(world: World, where: str) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    world.accepted("alice", "bank", 10, "waits")
    arguments = [world.settings.database_url, str(PARTITIONS), where]
    with subprocess.Popen([sys.executable, "-c", HANG, *arguments], stdout=subprocess.PIPE, text=True) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == "holds\n"
        hanging.send_signal(SIGSTOP)
        stopped_at = time.monotonic()
        while not world.worker.run_once().settled:
            assert time.monotonic() - stopped_at < TAKEOVER_S
            time.sleep(0.05)
        hanging.kill()
    assert "waits" in world.posted_external_ids()
    assert POSTING_IDLE_S < TAKEOVER_S
