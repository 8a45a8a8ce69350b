"""Servers that are down, silent or slow: the answer says which, and no money moves twice."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, Thread

import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from app.embedded.child_process import free_port
from app.ledger.api_keys import LedgerApiKeys
from app.services.access import api_keys as keys
from app.services.access.api_keys import RECHECK_S, Gatekeeper
from app.wiring.services import build_engine
from tests.api.world import BANK, World, assert_problem, payment

CHECK_DEADLINE_S = keys.CHECK_DEADLINE_S  # before the fixtures


@pytest.fixture(autouse=True)
def deadline_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent ledger is given up after the deadline that users have."""
    monkeypatch.setattr(keys, "CHECK_DEADLINE_S", CHECK_DEADLINE_S)


class Relay:
    """A TCP relay in front of a server that can be cut, or made to swallow the answers."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.deaf = Event()
        self._links: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._links += [near, far]
                Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                if not (answers and self.deaf.is_set()):
                    sink.sendall(chunk)

    def cut(self) -> None:
        """The server is gone: connections break, new ones are refused."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()


@pytest.fixture
def shop(world: World) -> World:
    """Alice with money and Bob."""
    world.funded("alice", 1_000)
    world.account("bob")
    return world


@pytest.fixture
def cache_relay(shop: World) -> Iterator[tuple[World, Relay]]:
    """The shop, with a relay in front of its cache."""
    known = redis.connection.parse_url(shop.settings.redis_url)
    relay = Relay(int(shop.cache.config_get("port")["port"]))
    url = f"redis://:{known['password']}@127.0.0.1:{relay.port}/{known['db']}"
    yield shop.with_settings(redis_url=url, queue_url=url, cache_deadline_s=3), relay
    relay.cut()


@pytest.fixture
def ledger_relay(shop: World) -> Iterator[tuple[World, Relay]]:
    """The shop, with a relay in front of its ledger."""
    port = str(conninfo_to_dict(shop.settings.database_url)["port"])
    relay = Relay(int(port))
    url = shop.settings.database_url.replace(f":{port}/", f":{relay.port}/")
    yield shop.with_settings(database_url=url), relay
    relay.cut()


def test_without_a_cache_payments_are_refused_as_not_done_and_the_ledger_still_answers(shop: World) -> None:
    port = free_port()
    closed = f"redis://127.0.0.1:{port}/0"
    down = shop.with_settings(redis_url=closed, queue_url=closed)
    assert_problem(down.pay("alice", "bob"), 503, "cache_unavailable", retryable=True)
    assert_problem(down.get("/v1/accounts/alice/balance"), 503, "cache_unavailable", retryable=True)
    assert down.get("/v1/accounts/alice").status_code == 200
    assert len(down.get("/v1/accounts/alice/entries").get_json()["data"]) == 1
    assert down.get("/v1/reports/trial-balance").status_code == 200
    [posted] = down.get("/v1/accounts/alice/entries").get_json()["data"]
    assert down.get(f"/v1/payments/{posted['payment_id']}").get_json()["status"] == "posted"


def test_a_lost_cache_shows_in_readiness_and_not_in_liveness(shop: World) -> None:
    closed = f"redis://127.0.0.1:{free_port()}/0"
    down = shop.with_settings(redis_url=closed, queue_url=closed)
    assert down.get("/healthz", key=None).get_json() == {"status": "alive"}
    ready = down.get("/readyz", key=None)
    assert ready.status_code == 503
    body = ready.get_json()
    assert body["status"] == "not_ready"
    assert {name: check["ok"] for name, check in body["checks"].items()} == {
        "cache": False, "cache_identity": False, "cache_memory": True, "ledger": True, "migrations": True,
        "workers": False, "posting": True, "clocks": True, "queue": False,
        "webhooks": True,
    }  # fmt: skip


def test_a_cache_that_does_not_answer_leaves_the_outcome_unknown_and_a_retry_settles_it(
    cache_relay: tuple[World, Relay],
) -> None:
    world, relay = cache_relay
    assert world.pay("alice", "bob", 1).status_code == 201
    body = payment("alice", "bob", 100)
    relay.deaf.set()
    unknown = assert_problem(world.post("/v1/payments", body), 503, "outcome_unknown", retryable=True)
    assert "same external_id" in unknown["detail"]
    relay.deaf.clear()
    again = world.post("/v1/payments", body)
    assert again.status_code == 200, "the script had run, so this is a replay"
    world.drained()
    assert world.balance("alice")["balance_minor"] == 899


def test_a_cache_that_is_lost_between_two_requests_is_reported_and_comes_back(
    cache_relay: tuple[World, Relay],
) -> None:
    world, relay = cache_relay
    assert world.pay("alice", "bob", 1).status_code == 201
    relay.cut()
    body = payment("alice", "bob", 100)
    answer = world.post("/v1/payments", body).get_json()
    assert answer["code"] in ("outcome_unknown", "cache_unavailable")
    assert_problem(world.post("/v1/payments", body), 503, "cache_unavailable", retryable=True)


def test_without_a_ledger_reads_are_refused_while_hot_payments_go_on(ledger_relay: tuple[World, Relay]) -> None:
    world, relay = ledger_relay
    assert world.pay("alice", "bob", 1).status_code == 201
    relay.cut()
    for path in (
        "/v1/accounts", "/v1/accounts/alice", "/v1/accounts/alice/entries", "/v1/payments?external_id=x",
        "/v1/payments/pay_1_1_1", "/v1/reports/trial-balance", "/v1/reports/conflicts",
    ):  # fmt: skip
        assert_problem(world.get(path), 503, "ledger_unavailable", retryable=True)
    new = {"account_id": "new", "type": "asset", "currency_code": "EUR"}
    assert_problem(world.post("/v1/accounts", new), 503, "ledger_unavailable", retryable=True)
    accepted = world.pay("alice", "bob", 100)
    assert accepted.status_code == 201
    assert world.balance("alice")["held_minor"] == 101
    shown = world.get(accepted.headers["Location"])
    assert shown.get_json()["status"] == "pending"
    ready = world.get("/readyz", key=None)
    assert ready.status_code == 503
    assert ready.get_json()["backlog"] == 2
    assert not ready.get_json()["checks"]["ledger"]["ok"]


def test_an_outage_of_the_ledger_longer_than_the_recheck_of_keys_does_not_stop_payments(
    ledger_relay: tuple[World, Relay],
) -> None:
    world, relay = ledger_relay
    now = [1_000.0]
    world.services.gatekeeper = Gatekeeper(LedgerApiKeys(build_engine(world.settings, "tests")), lambda: now[0])
    assert world.pay("alice", "bob", 1).status_code == 201
    relay.cut()
    for _ in range(5):
        now[0] += RECHECK_S + 1
        assert world.pay("alice", "bob", 1).status_code == 201, "a key that was good stays good while nobody can ask"
    unknown = world.get("/v1/accounts", key="hf_ffffffffffff_secret")
    assert_problem(unknown, 503, "ledger_unavailable", retryable=True)


def test_a_frozen_ledger_that_neither_answers_nor_fails_does_not_stop_payments_either(
    ledger_relay: tuple[World, Relay],
) -> None:
    world, relay = ledger_relay
    now = [1_000.0]
    world.services.gatekeeper = Gatekeeper(LedgerApiKeys(build_engine(world.settings, "tests")), lambda: now[0])
    assert world.pay("alice", "bob", 1).status_code == 201
    relay.deaf.set()
    now[0] += RECHECK_S + 1
    assert world.pay("alice", "bob", 1).status_code == 201
    unknown = world.get("/v1/accounts", key="hf_ffffffffffff_secret")
    assert_problem(unknown, 503, "ledger_unavailable", retryable=True)


def test_a_frozen_ledger_is_reported_as_unavailable_where_it_is_needed(
    ledger_relay: tuple[World, Relay],
) -> None:
    world, relay = ledger_relay
    world.account("carol")
    assert world.pay("alice", "bob", 1).status_code == 201
    relay.deaf.set()
    entries = [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": "bob", "direction": "credit", "amount_minor": 1},
    ]
    calls = [
        partial(world.pay, "alice", "carol"),
        partial(world.get, "/v1/accounts/carol/balance"),
        partial(world.call, "PATCH", "/v1/accounts/bob", json={"name": "Bob"}),
        partial(world.post, "/v1/journals", {"external_id": "j", "entries": entries, "reason": "a test"}),
    ]
    with ThreadPoolExecutor(16) as threads:  # more than the pool has connections
        answers = [future.result() for future in [threads.submit(call) for call in calls * 4]]
    for answer in answers:
        assert_problem(answer, 503, "ledger_unavailable", retryable=True)
    relay.deaf.clear()
    assert world.pay("alice", "carol").status_code == 201


def test_a_ledger_with_another_schema_is_a_server_error_that_the_log_explains(shop: World) -> None:
    misconfigured = shop.with_settings(partitions=8)
    problem = assert_problem(misconfigured.pay("alice", "bob"), 500, "internal_error", retryable=True)
    assert "partition" not in problem["detail"]


def test_an_unexpected_error_is_answered_without_internal_details(shop: World) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("secret detail")

    shop.services.balances.get = broken  # type: ignore[method-assign,assignment]
    problem = assert_problem(shop.get("/v1/accounts/alice/balance"), 500, "internal_error", retryable=True)
    assert "secret" not in str(problem)


def test_a_cache_that_was_lost_with_all_its_data_creates_no_money_and_serves_on(shop: World) -> None:
    shop.pay("alice", "bob", 100)
    shop.drained()
    shop.cache.flushdb()
    assert shop.balance("alice")["available_minor"] == 900
    assert_problem(shop.pay("alice", "bob", 901), 422, "insufficient_funds")
    assert shop.pay("alice", "bob", 900).status_code == 201
    shop.drained()
    assert shop.balance("bob")["balance_minor"] == 1_000
    assert shop.balance(BANK)["balance_minor"] == 1_000
