"""Who may call what: keys, scopes, revocation."""

import re

import pytest

from app.api.context import ApiServices
from app.services.access.api_keys import RECHECK_S, Gatekeeper, Scope
from tests.api.world import World, assert_problem, payment

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
