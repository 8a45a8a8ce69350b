"""Keys over HTTP: made, listed, revoked and rotated by a key that may; when they expire, and when they were used."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cache import keys
from app.cache.client import blocking_client
from app.cache.notifications import Subscriber
from app.domain.errors import LedgerUnavailable
from app.ledger.api_keys import LedgerApiKeys, StoredKey
from app.services.access.api_keys import BUNDLES, RECHECK_S, USE_NOTED_S, Gatekeeper, Scope, granted
from app.wiring.services import build_engine
from tests.api.test_access import Clock
from tests.api.world import World, assert_problem, payment
from tests.patience import until


def key_id_of(key: str) -> str:
    return key.split("_")[1]


def made(world: World, key: str = "", **fields: Any) -> dict[str, Any]:
    """A key made over HTTP."""
    response = world.post("/v1/keys", {"name": "a shop", "scopes": ["read"], **fields}, key=key)
    assert response.status_code == 201, response.text
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.get_json()
    assert response.headers["Location"] == f"/v1/keys/{body['key_id']}"
    return body


# Scopes


def test_the_old_scopes_are_bundles_of_the_fine_ones() -> None:
    assert granted(["read"]) == {"read", "accounts:read", "payments:read", "reports:read", "events:read"}
    assert granted(["accounts:write"]) == {"accounts:write", "journals:write"}
    assert granted(["payments:write"]) == {"payments:write"}
    assert granted(["admin"]) == set(Scope)
    assert granted(["of a later version"]) == {"of a later version"}
    for included in BUNDLES.values():
        assert granted(included) >= included


@pytest.mark.parametrize(
    ("scope", "path", "is_allowed"),
    [
        (Scope.ACCOUNTS_READ, "/v1/accounts", True),
        (Scope.ACCOUNTS_READ, "/v1/payments?external_id=x", False),
        (Scope.ACCOUNTS_READ, "/v1/reports/trial-balance", False),
        (Scope.PAYMENTS_READ, "/v1/payments?external_id=x", True),
        (Scope.PAYMENTS_READ, "/v1/accounts", False),
        (Scope.REPORTS_READ, "/v1/reports/trial-balance", True),
        (Scope.REPORTS_READ, "/metrics", True),
        (Scope.REPORTS_READ, "/v1/accounts", False),
        (Scope.AUDIT_READ, "/v1/accounts", False),
        (Scope.READ, "/v1/keys", False),
        (Scope.ADMIN, "/v1/keys", True),
    ],
)
def test_a_fine_scope_opens_its_own_routes_only(shared_world: World, scope: Scope, path: str, is_allowed: bool) -> None:
    key = shared_world.key_with(scope)
    response = shared_world.application.test_client().get(path, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == (200 if is_allowed else 403), response.text


def test_a_key_that_reads_payments_only_is_told_no_balance(world: World) -> None:
    world.funded("alice", 7_777)
    world.account("bob")
    made = world.pay("alice", "bob", 10).get_json()
    world.pay("alice", "bob", 99_999, external_id="refused")
    world.drained()
    key = world.key_with(Scope.PAYMENTS_READ)
    for path in (f"/v1/payments/{made['payment_id']}", "/v1/payments?external_id=refused"):
        answer = world.get(path, key=key)
        assert answer.status_code == 200
        assert "balance_minor" not in answer.text, path
        assert "7767" not in answer.text, path
        assert "balance_minor" in world.get(path).text


# Making and listing


def test_a_key_made_over_http_works_at_once_and_its_secret_is_shown_once(world: World) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    limit = {"requests_per_second": 100, "burst": 200}
    body = made(world, scopes=["payments:write", "read"], entities=["default"], expires_at=tomorrow, rate_limit=limit)
    key, key_id = body.pop("key"), body["key_id"]
    assert world.get("/v1/accounts", key=key).status_code == 200
    for answer in (world.get("/v1/keys"), world.get(f"/v1/keys/{key_id}"), world.call("DELETE", f"/v1/keys/{key_id}")):
        assert key.split("_", 2)[2] not in answer.text
        assert "key" not in answer.get_json()
    shown = {one["key_id"]: one for one in world.get("/v1/keys").get_json()["data"]}[key_id]
    told = ("name", "scopes", "entities", "rate_limit", "expires_at", "created_at", "rotated_from")
    assert {name: shown[name] for name in told} == {name: body[name] for name in told}
    assert (body["scopes"], body["entities"], body["rate_limit"]) == (["payments:write", "read"], ["default"], limit)
    assert (body["status"], shown["status"]) == ("active", "revoked")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"scopes": ["everything"]}, 400, "malformed_request"),
        ({"scopes": []}, 400, "malformed_request"),
        ({"name": ""}, 400, "malformed_request"),
        ({"entities": []}, 400, "malformed_request"),
        ({"entities": [" x"]}, 422, "invalid_id"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "expiry_not_allowed"),
        ({"expires_at": "tomorrow"}, 400, "malformed_request"),
        ({"rate_limit": {"requests_per_second": 0, "burst": 1}}, 400, "malformed_request"),
        ({"rate_limit": {"requests_per_second": 1}}, 400, "malformed_request"),
        ({"secret": "mine"}, 400, "malformed_request"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    shared_world: World, fields: dict[str, Any], status: int, code: str
) -> None:
    admin = shared_world.key
    before = shared_world.sql("SELECT count(*) FROM api_key")
    response = shared_world.post("/v1/keys", {"name": "x", "scopes": ["read"], **fields}, key=admin)
    problem = assert_problem(response, status, code)
    if code == "expiry_not_allowed":
        assert problem["field"] == "expires_at"
    assert shared_world.sql("SELECT count(*) FROM api_key") == before


def test_only_a_key_with_the_scope_administers_keys(shared_world: World) -> None:
    key = shared_world.key_with(*[one for one in Scope if one is not Scope.ADMIN])
    body = {"name": "x", "scopes": ["read"]}
    for response in (
        shared_world.post("/v1/keys", body, key=key),
        shared_world.get("/v1/keys", key=key),
        shared_world.call("DELETE", f"/v1/keys/{key_id_of(key)}", key=key),
        shared_world.post(f"/v1/keys/{key_id_of(key)}/rotate", key=key),
    ):
        assert assert_problem(response, 403, "forbidden")["scope"] == "admin"


def test_a_bound_admin_key_makes_keys_for_its_own_entities(world: World) -> None:
    admin = world.key_with(Scope.ADMIN, entities=["a", "b"])
    assert made(world, admin)["entities"] == ["a", "b"]
    assert made(world, admin, entities=["b"])["entities"] == ["b"]
    refused = world.post("/v1/keys", {"name": "x", "scopes": ["read"], "entities": ["b", "c"]}, key=admin)
    assert_problem(refused, 403, "forbidden")


def test_an_administrator_whose_key_ended_just_now_is_refused_by_the_ledger(world: World) -> None:
    """The process still trusts the key; the ledger, which makes the keys, does not."""
    admin = world.key_with(Scope.ADMIN)
    assert world.get("/v1/keys", key=admin).status_code == 200
    world.ledger_api_keys.revoke(key_id_of(admin), "tests")
    before = world.sql("SELECT count(*) FROM api_key")
    assert_problem(world.post("/v1/keys", {"name": "x", "scopes": ["admin"]}, key=admin), 401, "unauthenticated")
    assert world.sql("SELECT count(*) FROM api_key") == before


def test_what_keys_are_about_is_audited_with_who_did_it(world: World) -> None:
    first, second = made(world), made(world)
    world.post(f"/v1/keys/{first['key_id']}/rotate")
    world.call("DELETE", f"/v1/keys/{second['key_id']}")
    events = world.sql("SELECT action, subject FROM audit_event WHERE actor = %s", f"key:{key_id_of(world.key)}")
    assert [action for action, _ in events] == ["key.create"] * 3 + ["key.rotate", "key.revoke"]
    for secret in (one["key"].split("_", 2)[2] for one in (first, second)):
        assert not world.sql("SELECT FROM audit_event WHERE detail::text LIKE %s", f"%{secret}%")
    world.assert_proven()


# Revoking and rotating, in every process


@pytest.fixture
def processes(world: World) -> Iterator[list[World]]:
    """Two processes of the API that listen, and trust a key for ever once they have checked it."""
    made: list[World] = []

    def trust(services: Any) -> None:
        ledger = LedgerApiKeys(build_engine(world.settings, "tests"))
        services.gatekeeper = Gatekeeper(ledger, lambda: 0.0)

    with ExitStack() as stack:
        for _ in range(2):
            process = world.with_settings()
            process.prepare = trust
            client = blocking_client(world.settings.redis_url, decode_responses=True)
            subscriber = Subscriber(client, lambda _: None, lambda _: None, process.services.gatekeeper.revoke)
            subscriber.start()
            stack.callback(subscriber.stop)
            made.append(process)
        until(lambda: world.cache.pubsub_numsub(keys.REVOKED_CHANNEL)[0][1] == 2)
        yield made


def test_a_key_revoked_over_http_ends_in_every_process(world: World, processes: list[World]) -> None:
    key, admin = world.key_with(Scope.READ), world.key
    one, other = processes
    for process in processes:
        assert process.get("/v1/accounts", key=key).status_code == 200
    response = one.call("DELETE", f"/v1/keys/{key_id_of(key)}", key=admin)
    assert (response.status_code, response.get_json()["status"]) == (200, "revoked")
    until(lambda: other.get("/v1/accounts", key=key).status_code == 401)
    until(lambda: one.get("/v1/accounts", key=key).status_code == 401)
    again = one.call("DELETE", f"/v1/keys/{key_id_of(key)}", key=admin)
    assert (again.status_code, again.get_json()) == (200, response.get_json())
    assert_problem(one.call("DELETE", "/v1/keys/nothing", key=admin), 404, "not_found")


def test_a_key_rotated_without_overlap_ends_in_every_process(world: World, processes: list[World]) -> None:
    key, admin = world.key_with(Scope.READ), world.key
    for process in processes:
        assert process.get("/v1/accounts", key=key).status_code == 200
    rotated = processes[0].post(f"/v1/keys/{key_id_of(key)}/rotate", {"overlap_hours": 0}, key=admin).get_json()
    for process in processes:
        until(lambda process=process: process.get("/v1/accounts", key=key).status_code == 401)
        assert process.get("/v1/accounts", key=rotated["key"]).status_code == 200


def test_a_rotated_key_stays_valid_beside_its_successor_and_then_ends(world: World) -> None:
    clock = Clock()

    def inject(services: Any) -> None:
        services.gatekeeper = Gatekeeper(world.ledger_api_keys, clock)

    world.prepare = inject
    key = world.key_with(Scope.READ, entities=["default"])
    response = world.post(f"/v1/keys/{key_id_of(key)}/rotate", {"overlap_hours": 2})
    successor = response.get_json()
    assert (response.status_code, successor["rotated_from"]) == (201, key_id_of(key))
    assert (successor["scopes"], successor["entities"], successor["expires_at"]) == (["read"], ["default"], None)
    for one in (key, successor["key"]):
        assert world.get("/v1/accounts", key=one).status_code == 200
    assert_problem(world.post(f"/v1/keys/{key_id_of(key)}/rotate"), 409, "key_not_rotatable")
    world.sql("UPDATE api_key SET expires_at = now() WHERE key_id = %s", key_id_of(key))  # two hours later
    clock.now += RECHECK_S
    assert_problem(world.get("/v1/accounts", key=key), 401, "unauthenticated")
    assert world.get("/v1/accounts", key=successor["key"]).status_code == 200
    assert world.get(f"/v1/keys/{key_id_of(key)}").get_json()["status"] == "expired"


# Expiry


def test_a_key_ends_when_it_expires_and_not_when_it_is_checked_next(world: World) -> None:
    key = world.key_with(Scope.READ, expires_at=datetime.now(UTC) + timedelta(minutes=1))
    clock = Clock()
    gatekeeper = Gatekeeper(world.ledger_api_keys, clock)
    assert gatekeeper.caller(key) is not None
    assert gatekeeper.admits_at_once(key)
    clock.now += 60.0
    assert not gatekeeper.admits_at_once(key), "its end is not after the next check"


def test_a_key_expires_while_the_ledger_is_away(world: World) -> None:
    key, clock = world.key_with(Scope.READ, expires_at=datetime.now(UTC) + timedelta(seconds=60)), Clock()

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
    clock.now += 30
    assert gatekeeper.caller(key) is not None
    clock.now += 30
    assert gatekeeper.caller(key) is None


def test_an_expired_key_is_no_key(world: World) -> None:
    key = world.key_with(Scope.READ, expires_at=datetime.now(UTC) + timedelta(days=1))
    world.sql("UPDATE api_key SET expires_at = now() WHERE key_id = %s", key_id_of(key))
    assert_problem(world.get("/v1/accounts", key=key), 401, "unauthenticated")


# Last use


def test_the_last_use_is_noted_once_a_minute_and_not_with_every_request(world: World) -> None:
    clock = Clock()
    noted: list[float] = []

    class Noting(LedgerApiKeys):
        def note_use(self, key_id: str) -> None:
            super().note_use(key_id)
            noted.append(clock.now)

    def inject(services: Any) -> None:
        services.gatekeeper = Gatekeeper(Noting(build_engine(world.settings, "tests")), clock)

    world.prepare = inject
    key = world.key_with(Scope.READ)
    began = clock.now
    while clock.now < began + 2 * USE_NOTED_S:
        assert world.get("/v1/accounts", key=key).status_code == 200
        clock.now += RECHECK_S / 2
    until(lambda: len(noted) == 2)
    world.services.gatekeeper = Gatekeeper(world.ledger_api_keys, clock)
    shown = world.get(f"/v1/keys/{key_id_of(key)}").get_json()
    assert shown["last_used_at"] is not None
    assert world.get(f"/v1/keys/{key_id_of(world.key_with(Scope.READ))}").get_json()["last_used_at"] is None


def test_a_use_that_cannot_be_noted_stops_no_request(world: World) -> None:
    failed: list[str] = []

    class Broken(LedgerApiKeys):
        def note_use(self, key_id: str) -> None:
            failed.append(key_id)
            raise LedgerUnavailable("read-only")

    def inject(services: Any) -> None:
        services.gatekeeper = Gatekeeper(Broken(build_engine(world.settings, "tests")), lambda: 0.0)

    world.prepare = inject
    world.account("alice")
    until(lambda: failed != [])
    assert world.post("/v1/payments?dry_run=true", payment("alice", "alice", 1)).status_code == 422


def test_a_wrong_secret_is_no_use(world: World) -> None:
    key = world.key_with(Scope.READ)
    assert_problem(world.get("/v1/accounts", key=f"{key}x"), 401, "unauthenticated")
    world.key  # noqa: B018 - made, so that the list below can be asked for
    assert world.get(f"/v1/keys/{key_id_of(key)}").get_json()["last_used_at"] is None
