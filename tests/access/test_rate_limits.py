"""Rate limits over HTTP: told in every answer, kept by all processes together, and free for keys without one."""

import contextlib
import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from app.domain.rate_limits import RateLimit
from app.services.access.api_keys import Scope
from tests.api.world import World, assert_problem, payment
from tests.embedded.test_up import System
from tests.patience import PATIENCE_S

SLOW = RateLimit(per_second=1, burst=3)


def calls_of_scripts(world: World) -> int:
    stats: Any = world.cache.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_an_answer_tells_what_is_left(world: World) -> None:
    key = world.key_with(Scope.READ, limit=RateLimit(per_second=1, burst=100))
    for remaining in (99, 98):
        response = world.get("/v1/accounts", key=key)
        assert response.status_code == 200
        assert response.headers["RateLimit-Policy"] == '"requests";q=100;w=100'
        assert response.headers["RateLimit"] in {
            f'"requests";r={remaining + n};t={100 - remaining - n}' for n in (0, 1)
        }


def test_beyond_its_limit_a_key_is_refused_and_told_when_to_come_back(world: World) -> None:
    for name in ("alice", "bob"):
        world.account(name)
    key = world.key_with(Scope.PAYMENTS_WRITE, limit=RateLimit(per_second=1, burst=1))
    body = payment("alice", "bob", 1)
    first = world.post("/v1/payments", body, key=key)
    assert first.status_code == 422
    assert "RateLimit" in first.headers, "a refusal tells it too"
    refused = [world.post("/v1/payments", body, key=key) for _ in range(20)]
    [response, *_] = [one for one in refused if one.status_code == 429]
    figures = assert_problem(response, 429, "rate_limited", retryable=True)
    assert (figures["requests_per_second"], figures["burst"], figures["retry_after_s"]) == (1, 1, 1)
    assert response.headers["Retry-After"] == "1"
    assert response.headers["RateLimit"] == '"requests";r=0;t=1'
    assert response.headers["RateLimit-Policy"] == '"requests";q=1;w=1'
    assert world.get("/v1/accounts").status_code == 200, "other keys go on"


def test_a_request_that_cannot_be_read_counts_and_tells_what_is_left(world: World) -> None:
    key = world.key_with(Scope.READ, limit=SLOW)
    response = world.get("/v1/accounts?limt=5", key=key)
    assert_problem(response, 400, "malformed_request")
    assert response.headers["RateLimit"].startswith('"requests";r=2')


def test_a_request_that_a_key_may_not_make_does_not_count(world: World) -> None:
    key = world.key_with(Scope.PAYMENTS_WRITE, limit=SLOW)
    for _ in range(10):
        assert_problem(world.get("/v1/accounts", key=key), 403, "forbidden")
    assert "RateLimit" not in world.get("/healthz", key=key).headers


def test_a_key_without_a_limit_costs_nothing_extra(world: World) -> None:
    world.account("alice")
    limited = world.key_with(Scope.READ, limit=RateLimit(per_second=1_000, burst=1_000))
    for key in (world.key, limited):
        assert world.get("/v1/accounts/alice", key=key).status_code == 200
    before = calls_of_scripts(world)
    for _ in range(5):
        response = world.get("/v1/accounts/alice")
        assert response.status_code == 200
        assert "RateLimit" not in response.headers
    assert calls_of_scripts(world) == before
    assert world.get("/v1/accounts/alice", key=limited).status_code == 200
    assert calls_of_scripts(world) == before + 1, "one with a limit costs one call"


def test_a_limit_that_cannot_be_counted_allows_nothing(world: World) -> None:
    key = world.key_with(Scope.READ, limit=SLOW)
    free = world.key_with(Scope.READ)
    for one in (key, free):
        assert world.get("/v1/accounts", key=one).status_code == 200
    away = replace(world, settings=replace(world.settings, redis_url="redis://127.0.0.1:1/0"))
    assert_problem(away.get("/v1/accounts", key=key), 503, "cache_unavailable", retryable=True)
    assert away.get("/v1/accounts", key=free).status_code == 200


# Two processes


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with two API processes."""
    running = System(tmp_path_factory.mktemp("limits") / "data")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def asked(system: System, key: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    """One request on a connection of its own, so that either process may get it."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        raw = None if body is None else json.dumps(body)
        connection.request(method, path, raw, {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(response.read())


def test_two_processes_keep_one_limit_under_concurrent_requests(system: System) -> None:
    admin = (system.data_dir / "api-key").read_text().strip()
    limit = {"requests_per_second": 1, "burst": 30}
    wanted = {"name": "limited", "scopes": ["read"], "rate_limit": limit}
    status, _, made = asked(system, admin, "POST", "/v1/keys", wanted)
    assert status == 201
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: asked(system, made["key"], "GET", "/v1/accounts"), range(120)))
    passed = int(time.monotonic() - began) + 1
    counted = Counter(status for status, _, _ in answers)
    assert counted.keys() == {200, 429}
    assert 30 <= counted[200] <= 30 + passed
    for status, headers, body in answers:
        assert headers["ratelimit-policy"] == '"requests";q=30;w=30'
        if status == 429:
            assert body["code"] == "rate_limited"
            assert int(headers["retry-after"]) >= 1


def test_a_key_revoked_over_http_ends_in_both_processes(system: System) -> None:
    admin = (system.data_dir / "api-key").read_text().strip()
    _, _, made = asked(system, admin, "POST", "/v1/keys", {"name": "short-lived", "scopes": ["read"]})

    def statuses() -> set[int]:
        """Of enough connections that both processes get some."""
        with ThreadPoolExecutor(16) as pool:
            answers = pool.map(lambda _: asked(system, made["key"], "GET", "/v1/accounts")[0], range(48))
            return set(answers)

    assert statuses() == {200}
    assert asked(system, admin, "DELETE", f"/v1/keys/{made['key_id']}")[0] == 200
    time_left = time.monotonic() + PATIENCE_S
    while statuses() != {401}:
        assert time.monotonic() < time_left
    assert statuses() == {401}
