"""Who may call what: keys, scopes, revocation."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.api.context import ApiServices
from app.cache import keys
from app.cache.client import blocking_client
from app.cache.notifications import Subscriber
from app.domain.errors import LedgerUnavailable
from app.ledger.api_keys import LedgerApiKeys, StoredKey
from app.services.access.api_keys import LONGEST_TRUST_S, RECHECK_S, Gatekeeper, Scope
from app.wiring.cache import build_cache
from app.wiring.services import build_engine
from tests.api.world import World, assert_problem, payment
from tests.patience import until

OPEN = {"/healthz", "/readyz", "/v1/openapi.json", "/v1/problems"}


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def routes(world: World) -> list[tuple[str, str]]:
    """Every documented method and path, with ids filled in."""
    return [
        (method.upper(), re.sub(r"\{\w+\}", "x", path))
        for path, methods in world.document["paths"].items()
        for method in methods
    ]


def test_every_resource_but_health_and_reference_needs_a_key(shared_world: World) -> None:
    guarded = [(method, path) for method, path in routes(shared_world) if path not in OPEN]
    assert len(guarded) >= 9
    for method, path in guarded:
        response = shared_world.call(method, path, key=None)
        assert_problem(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="holdfast"'
    for path in OPEN:
        assert shared_world.get(path, key=None).status_code in (200, 503)


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer x{key}", "Bearer {key}x", "Bearer {short}",
        "Bearer hf__", "Bearer hf_{id}_", "Bearer hf_{id}", "Bearer xx_{id}_secret", "Bearer hf_ffffffffffff_secret",
        "Bearer hf_' OR 1=1 --_x", "Bearer hf_é_x", "Bearer " + "h" * 5_000,
    ],
)  # fmt: skip
def test_a_wrong_key_is_no_key(shared_world: World, header: str) -> None:
    key = shared_world.key
    sent = header.format(key=key, short=key[:-1], id=key.split("_")[1])
    assert_problem(shared_world.get("/v1/accounts", headers={"Authorization": sent}), 401, "unauthenticated")


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "BEARER  {key} "])
def test_the_authorization_scheme_is_read_as_http_requires(shared_world: World, header: str) -> None:
    sent = {"Authorization": header.format(key=shared_world.key)}
    assert shared_world.get("/v1/accounts", headers=sent).status_code == 200


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        (Scope.READ, "GET", "/v1/accounts", True),
        (Scope.READ, "GET", "/v1/reports/trial-balance", True),
        (Scope.READ, "POST", "/v1/accounts", False),
        (Scope.READ, "POST", "/v1/payments", False),
        (Scope.PAYMENTS_WRITE, "POST", "/v1/payments", True),
        (Scope.PAYMENTS_WRITE, "POST", "/v1/accounts", False),
        (Scope.PAYMENTS_WRITE, "GET", "/v1/accounts", False),
        (Scope.ACCOUNTS_WRITE, "POST", "/v1/accounts", True),
        (Scope.ACCOUNTS_WRITE, "POST", "/v1/payments", False),
        (Scope.ADMIN, "POST", "/v1/payments", True),
        (Scope.ADMIN, "GET", "/v1/reports/conflicts", True),
    ],
)
def test_a_key_does_what_its_scopes_say_and_nothing_else(
    shared_world: World, scope: Scope, method: str, path: str, allowed: bool
) -> None:
    response = shared_world.call(method, path, key=shared_world.key_with(scope))
    if allowed:
        assert response.status_code in (200, 400)  # the empty body is looked at, so the key was let in
    else:
        assert assert_problem(response, 403, "forbidden")["scope"]


def test_a_revoked_key_ends_within_the_recheck_time(world: World) -> None:
    clock = Clock()

    def inject(services: ApiServices) -> None:
        services.gatekeeper = Gatekeeper(world.ledger_api_keys, clock)

    world.prepare = inject
    key = world.key_with(Scope.READ)
    assert world.get("/v1/accounts", key=key).status_code == 200
    assert world.ledger_api_keys.revoke(key.split("_")[1], "tests")
    clock.now += RECHECK_S - 0.001
    assert world.get("/v1/accounts", key=key).status_code == 200, "trusted until the recheck"
    clock.now += 0.001
    for _ in range(2):
        assert_problem(world.get("/v1/accounts", key=key), 401, "unauthenticated")


def test_keys_are_hashed_at_rest_and_in_no_cache(world: World) -> None:
    key = world.key
    world.account("a")
    world.account("b")
    world.pay("a", "b")
    secret = key.split("_", 2)[2]
    [(stored,)] = world.sql("SELECT secret_hash FROM api_key")
    assert len(bytes(stored)) == 32
    everything = world.sql("SELECT row_to_json(k)::text FROM api_key k")
    everything += world.sql("SELECT row_to_json(a)::text FROM audit_event a")
    assert everything
    assert not [row for (row,) in everything if secret in row]
    for name in world.cache.scan_iter("*"):
        assert secret not in name


def test_the_ledger_records_who_made_a_payment(world: World) -> None:
    world.funded("alice")
    world.account("bob")
    key = world.key_with(Scope.PAYMENTS_WRITE)
    assert world.post("/v1/payments", payment("alice", "bob", external_id="x"), key=key).status_code == 201
    world.drained()
    [(actor,)] = world.sql("SELECT actor FROM ledger_transaction WHERE external_id = 'x'")
    assert actor == f"key:{key.split('_')[1]}"


# Revocation


def revoke(world: World, key: str) -> None:
    """What `keys revoke` does."""
    key_id = key.split("_")[1]
    assert world.ledger_api_keys.revoke(key_id, "tests")
    build_cache(world.settings, "tests").revocations.spread(key_id)


@pytest.fixture
def processes(world: World) -> Iterator[list[World]]:
    """Two processes of the API that listen, and trust a key for ever once they have checked it."""
    made = []
    with ExitStack() as stack:
        for _ in range(2):
            process = world.with_settings()
            services = process.services
            services.gatekeeper = Gatekeeper(LedgerApiKeys(build_engine(world.settings, "tests")), lambda: 0.0)
            client = blocking_client(world.settings.redis_url, decode_responses=True)
            subscriber = Subscriber(client, lambda _: None, lambda _: None, services.gatekeeper.revoke)
            subscriber.start()
            stack.callback(subscriber.stop)
            made.append(process)
        until(lambda: world.cache.pubsub_numsub(keys.REVOKED_CHANNEL)[0][1] == 2)
        yield made


def test_a_revocation_reaches_every_process_at_once(world: World, processes: list[World]) -> None:
    key, other = world.key_with(Scope.READ), world.key_with(Scope.READ)
    for process in processes:
        assert process.get("/v1/accounts", key=key).status_code == 200
    began = time.monotonic()
    revoke(world, key)
    until(lambda: all(process.get("/v1/accounts", key=key).status_code == 401 for process in processes))
    assert time.monotonic() - began < RECHECK_S, "none of them asks the ledger again"
    for process in processes:
        assert_problem(process.get("/v1/accounts", key=key), 401, "unauthenticated")
        assert process.get("/v1/accounts", key=other).status_code == 200


def test_a_revocation_that_a_process_did_not_hear_is_read_when_it_listens_again(
    world: World, processes: list[World]
) -> None:
    key = world.key_with(Scope.READ)
    for process in processes:
        assert process.get("/v1/accounts", key=key).status_code == 200
    key_id = key.split("_")[1]
    world.cache.sadd(keys.REVOKED, key_id)  # kept, but the message was lost
    world.cache.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    until(lambda: all(process.get("/v1/accounts", key=key).status_code == 401 for process in processes))


def test_a_key_revoked_while_it_is_being_checked_is_not_trusted(world: World) -> None:
    key = world.key_with(Scope.READ)

    class Slow(LedgerApiKeys):
        def get(self, key_id: str) -> StoredKey | None:
            found = super().get(key_id)
            gatekeeper.revoke([key_id])  # the message comes between the look-up and its answer
            return found

    gatekeeper = Gatekeeper(Slow(build_engine(world.settings, "tests")), lambda: 0.0)
    assert gatekeeper.caller(key) is None
    assert gatekeeper.caller(key) is None


def test_no_key_is_trusted_for_ever_while_the_ledger_is_away(world: World) -> None:
    key, clock = world.key_with(Scope.READ), Clock()

    class Away(LedgerApiKeys):
        is_away = False

        def get(self, key_id: str) -> StoredKey | None:
            if self.is_away:
                raise LedgerUnavailable("gone")
            return super().get(key_id)

    ledger = Away(build_engine(world.settings, "tests"))
    gatekeeper = Gatekeeper(ledger, clock)
    assert gatekeeper.caller(key) is not None
    ledger.is_away = True
    for _ in range(5):
        clock.now += LONGEST_TRUST_S / 5
        assert gatekeeper.caller(key) is not None, "a key that was good stays good for a while"
    clock.now += RECHECK_S
    with pytest.raises(LedgerUnavailable):
        gatekeeper.caller(key)
    ledger.is_away = False
    assert gatekeeper.caller(key) is not None


def test_the_command_tells_every_process(world: World, processes: list[World]) -> None:
    key = world.key_with(Scope.READ)
    for process in processes:
        assert process.get("/v1/accounts", key=key).status_code == 200
    environment = {
        "DATABASE_URL": world.settings.database_url,
        "HOLDFAST_OWNER_DATABASE_URL": world.settings.owner_database_url,
        "REDIS_URL": world.settings.redis_url,
    }
    command = [sys.executable, "-m", "app", "keys", "revoke", key.split("_")[1]]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"Key {key.split('_')[1]} is revoked, now.\n"), done.stderr
    until(lambda: all(process.get("/v1/accounts", key=key).status_code == 401 for process in processes))


# Who may not read


FUNDS = re.compile(r"balance_minor|held_minor|available_minor|floor_minor|lowest_limit|current_version|7,?777")
"""What would tell a balance of 7,777, by a figure's name or in a sentence."""


def asked(world: World, key: str) -> dict[str, TestResponse]:
    """What a key can ask without the right to read, and would learn a balance from."""
    poor = payment("alice", "bob", 9_999)
    journal: dict[str, Any] = {"external_id": "j", "reason": "x", "entries": [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": "bob", "direction": "credit", "amount_minor": 1},
    ]}  # fmt: skip
    greedy = {**journal, "entries": [{**one, "amount_minor": 9_999} for one in journal["entries"]]}
    lines: dict[str, Any] = {
        "data": json.dumps(payment("alice", "bob", 9_999)).encode(),
        "content_type": "application/x-ndjson",
    }
    lines["headers"] = {"Authorization": f"Bearer {key}"}
    closing = {"data": b'{"status": "closed", "reason": "x"}', "content_type": "application/json"}
    limit = {"data": b'{"overdraft_limit_minor": 0, "reason": "x"}', "content_type": "application/json"}
    return {
        "no funds": world.post("/v1/payments", poor, key=key),
        "no funds, again": world.post("/v1/payments", poor, key=key),
        "a version": world.post("/v1/payments", payment("alice", "bob", 1, expected_version=99), key=key),
        "a dry run": world.post("/v1/payments?dry_run=true", payment("alice", "bob", 1), key=key),
        "a batch": world.post("/v1/payments/batch", {"payments": [payment("alice", "bob", 9_999)]}, key=key),
        "an atomic one": world.post("/v1/payments/batch", {"payments": [poor | {"external_id": "y"}], "atomic": True},
                                    key=key),
        "a dry batch": world.post("/v1/payments/batch?dry_run=true", {"payments": [payment("alice", "bob", 1)]},
                                  key=key),
        "a stream": world.application.test_client().post("/v1/payments/batch", **lines),
        "a journal": world.post("/v1/journals?dry_run=true", journal, key=key),
        "a greedy journal": world.post("/v1/journals", greedy, key=key),
        "a closing": world.call("PATCH", "/v1/accounts/alice", key=key, **closing),
        "a limit": world.call("PATCH", "/v1/accounts/overdrawn", key=key, **limit),
    }  # fmt: skip


def test_a_key_that_may_not_read_learns_no_balance_on_the_side(world: World) -> None:
    world.funded("alice", 7_777)
    world.account("bob")
    world.account("overdrawn", overdraft_limit_minor=9_000)
    world.pay("overdrawn", "bob", 7_777)
    world.drained()
    writes = (Scope.PAYMENTS_WRITE, Scope.ACCOUNTS_WRITE, Scope.JOURNALS_WRITE)
    for name, answer in asked(world, world.key_with(*writes)).items():
        assert answer.status_code not in (401, 403, 500), name
        assert not FUNDS.search(answer.text), (name, answer.text)
    readers = asked(world, world.key_with(*writes, Scope.READ))
    for name, answer in readers.items():
        if name != "no funds, again":
            assert FUNDS.search(answer.text), (name, answer.text)


def test_what_was_posted_tells_no_balance_to_a_key_that_may_not_read(world: World) -> None:
    world.funded("alice", 7_777)
    world.account("bob")
    made = world.pay("alice", "bob", 10).get_json()
    world.drained()
    key = world.key_with(Scope.PAYMENTS_WRITE, Scope.JOURNALS_WRITE)
    path = f"/v1/payments/{made['payment_id']}/refunds"
    refund = world.post(path, {"external_id": "r", "amount_minor": 1}, key=key)
    assert (refund.status_code, "balance_minor" in refund.text) == (201, False)
    entries = world.get(path).get_json()["data"][0]["entries"]
    assert {one["account_id"]: one["balance_minor"] for one in entries} == {"alice": 7_768, "bob": 9}
