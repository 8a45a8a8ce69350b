"""Servers in the states that they get into: every request is answered by a code of its own, and none by a bare 500."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from werkzeug.test import TestResponse

from app.cache import keys
from app.cache.server_states import ServerWatch
from tests.api.world import World, assert_problem
from tests.builders import end_sessions, ledger_set_to
from tests.patience import until


@pytest.fixture
def shop(world: World) -> World:
    """Alice with money that can be refunded, Bob, and Carol who is cold."""
    world.funded("alice", 1_000)
    world.account("bob")
    world.account("carol")
    assert world.pay("alice", "bob", 10, external_id="paid").status_code == 201
    world.drained()
    return world


def writes(world: World) -> dict[str, Callable[[], TestResponse]]:
    """One request of each kind that writes to the ledger while its caller waits."""
    [payment] = world.get("/v1/payments?external_id=paid").get_json()["data"]
    entries = [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": "bob", "direction": "credit", "amount_minor": 1},
    ]
    return {
        "refund": partial(
            world.post, f"/v1/payments/{payment['payment_id']}/refunds", {"external_id": "r", "reason": "a test"}
        ),
        "journal": partial(world.post, "/v1/journals", {"external_id": "j", "entries": entries, "reason": "a test"}),
        "account": partial(world.post, "/v1/accounts", {"account_id": "new", "type": "asset", "currency_code": "EUR"}),
        "change": partial(world.call, "PATCH", "/v1/accounts/bob", json={"name": "Bob"}),
        "asset": partial(world.post, "/v1/assets", {"currency_code": "GEM", "minor_units": 0, "name": "Gems"}),
    }


@contextmanager
def owner_of(world: World) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world.settings.owner_database_url, autocommit=True) as owner:
        yield owner


@contextmanager
def read_only(world: World) -> Iterator[None]:
    with owner_of(world) as owner, ledger_set_to(owner, "default_transaction_read_only = on"):
        yield


@contextmanager
def disk_full(world: World) -> Iterator[None]:
    """Every insert fails as on a full disk."""
    tables = ("ledger_transaction", "account", "audit_event", "asset")
    with owner_of(world) as owner:
        owner.execute(
            "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
        )
        for table in tables:
            trigger = "CREATE TRIGGER no_space BEFORE INSERT ON {} FOR EACH STATEMENT EXECUTE FUNCTION no_space()"
            owner.execute(sql.SQL(trigger).format(sql.Identifier(table)))
        yield
        for table in tables:
            owner.execute(sql.SQL("DROP TRIGGER no_space ON {}").format(sql.Identifier(table)))


@contextmanager
def no_connections(world: World) -> Iterator[None]:
    """The role may not log in any more: too many connections."""
    role = sql.Identifier(str(conninfo_to_dict(world.settings.database_url)["user"]))
    with owner_of(world) as owner:
        owner.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(role))
        end_sessions(owner)
        try:
            yield
        finally:
            owner.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT -1").format(role))


State = Callable[[World], AbstractContextManager[None]]


@pytest.mark.parametrize("state", [read_only, disk_full, no_connections])
def test_what_the_ledger_cannot_write_is_unavailable_and_holds_nothing(shop: World, state: State) -> None:
    requests = writes(shop)
    with state(shop):
        for name, send in requests.items():
            answer = send()
            assert answer.status_code == 503, (name, answer.text)
            assert_problem(answer, 503, "ledger_unavailable", retryable=True)
        if state is not no_connections:
            assert shop.balance("alice")["held_minor"] == 0, "the holds of what failed are released at once"
    for name, send in requests.items():
        assert send().status_code in (200, 201), name
    shop.assert_proven()


def test_sessions_that_the_server_ended_are_not_noticed_twice(shop: World) -> None:
    requests = writes(shop)
    with owner_of(shop) as owner:
        end_sessions(owner)
    for send in requests.values():
        until(lambda send=send: send().status_code in (200, 201))


@contextmanager
def cache_set(world: World, **settings: str) -> Iterator[None]:
    before = {name.replace("_", "-"): "" for name in settings}
    for name in before:
        before[name] = world.cache.config_get(name)[name]
        world.cache.config_set(name, settings[name.replace("-", "_")])
    try:
        yield
    finally:
        for name, value in before.items():
            world.cache.config_set(name, value)


@contextmanager
def replica(world: World, *, stale: str = "yes") -> Iterator[None]:
    with cache_set(world, replica_serve_stale_data=stale):
        world.cache.replicaof("127.0.0.1", 1)
        try:
            yield
        finally:
            world.cache.replicaof("NO", "ONE")


@contextmanager
def scripts_lost(world: World) -> Iterator[None]:
    world.cache.script_flush()
    yield


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (replica, "cache_unavailable"),
        (partial(replica, stale="no"), "cache_unavailable"),
        (partial(cache_set, min_replicas_to_write="3"), "cache_unavailable"),
        (partial(cache_set, maxmemory="1"), "cache_full"),
    ],
    ids=["READONLY", "MASTERDOWN", "NOREPLICAS", "OOM"],
)
def test_a_cache_that_takes_no_writes_is_said_to_be_what_it_is(shop: World, state: State, code: str) -> None:
    entries = [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": "bob", "direction": "credit", "amount_minor": 1},
    ]
    requests = [
        partial(shop.pay, "alice", "bob", 1),
        partial(shop.pay, "alice", "carol", 1, external_id="again"),
        partial(shop.post, "/v1/journals", {"external_id": "j", "entries": entries, "reason": "a test"}),
    ]
    assert all(shop.pay("alice", "bob", 1).status_code == 201 for _ in range(2))
    with state(shop):
        for send in requests:
            assert_problem(send(), 503, code, retryable=True)
        shop.get("/readyz", key=None)
    for send in requests:
        until(lambda send=send: send().status_code in (200, 201))
    shop.assert_proven()


def test_a_machine_whose_clock_differs_from_the_caches_takes_no_payments(shop: World) -> None:
    client = shop.services.cache.client
    right, client.watch = client.watch, ServerWatch(wall_clock=lambda: time.time() - 3_600)
    shop.pay("alice", "bob", 1)  # asks the server for its time
    assert_problem(shop.pay("alice", "bob", 1), 503, "clocks_disagree", retryable=True)
    client.watch = right
    assert shop.pay("alice", "bob", 1).status_code == 201
    shop.assert_proven()


def test_a_cache_that_lost_its_scripts_gets_them_again(shop: World) -> None:
    with scripts_lost(shop):
        assert shop.pay("alice", "bob", 1).status_code == 201
    shop.assert_proven()


def test_memory_and_drains_are_metrics(shop: World) -> None:
    shop.services.cache.heartbeats.beat("here:1", 0.0, "")
    text = shop.get("/metrics").text
    for name in (
        "holdfast_cache_memory_bytes", "holdfast_clock_ahead_seconds", "holdfast_oldest_intent_seconds",
        "holdfast_drain_silence_seconds",
    ):  # fmt: skip
        assert f"\n{name}" in text
    assert keys.drains(0).startswith("hf:")
