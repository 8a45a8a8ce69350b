"""Readiness is judged by what happens: each state of a server turns its check red, and says what to do."""

from dataclasses import replace
from typing import Any

import pytest

from app.cache.server_states import CacheServer
from app.domain.errors import CacheUnavailable
from app.domain.timestamps import CLOCK_BOUND_S
from app.domain.webhooks import LEFT_UNREAD_S, Lag
from app.ledger.engine import LedgerServer
from app.services.proofs.readiness import HEARD_S, STALLED_S, OldestIntent, Readiness, ReadinessProbe
from tests.services.faults import Overridden
from tests.world import StepClock, World

SERVER = CacheServer("master", 10, 100, 1_000_000, 0.0)
LEDGER = LedgerServer(is_standby=False, is_read_only=False, clock_ahead_s=0.0)


@pytest.fixture
def healthy(world: World) -> World:
    """An installation with a drain that has just succeeded."""
    world.bank()
    world.account("alice", balance_minor=100)
    world.cache.heartbeats.beat("here:1", 0.0, "")
    return world


def look(
    world: World, *, ledger: LedgerServer = LEDGER, queue: Any = None, lags: Any = None, **cache_calls: Any
) -> Readiness:
    probe = ReadinessProbe(
        Overridden(world.cache, **cache_calls),
        lambda: 1,
        world.ledger_accounts.directory_version,
        lambda: True,
        lambda: ledger,
        queue or (lambda: None),
        lambda: lags or {},
        monotonic=StepClock(),
        allow_unsafe_cache=False,
    )
    return probe.look()


def red(readiness: Readiness) -> dict[str, str]:
    return {name: check.detail for name, check in readiness.checks.items() if not check.ok}


def test_a_healthy_installation_is_ready(healthy: World) -> None:
    readiness = look(healthy)
    assert (readiness.status, red(readiness)) == ("ready", {})


@pytest.mark.parametrize(
    ("server", "name", "advice"),
    [
        (replace(SERVER, role="slave"), "cache", "promote it"),
        (replace(SERVER, used_bytes=95), "cache_memory", "raise maxmemory"),
        (replace(SERVER, clock_ahead_s=CLOCK_BOUND_S + 1), "clocks", "synchronize"),
        (replace(SERVER, clock_ahead_s=-CLOCK_BOUND_S - 1), "clocks", "synchronize"),
    ],
)
def test_a_state_of_the_cache_turns_its_check_red(healthy: World, server: CacheServer, name: str, advice: str) -> None:
    readiness = look(healthy, server=lambda: server)
    assert readiness.status == "not_ready"
    assert red(readiness).keys() == {name}
    assert advice in red(readiness)[name]


@pytest.mark.parametrize(
    ("server", "name", "advice"),
    [
        (replace(LEDGER, is_standby=True, is_read_only=True), "ledger", "primary"),
        (replace(LEDGER, is_read_only=True), "ledger", "default_transaction_read_only"),
        (replace(LEDGER, clock_ahead_s=3_600.0), "clocks", "ledger 60 min ahead"),
    ],
)
def test_a_state_of_the_ledger_turns_its_check_red(
    healthy: World, server: LedgerServer, name: str, advice: str
) -> None:
    readiness = look(healthy, ledger=server)
    assert red(readiness).keys() == {name}
    assert advice in red(readiness)[name]


def test_figures_are_told_as_people_read_them(healthy: World) -> None:
    def told(server: CacheServer) -> list[str]:
        checks = look(healthy, server=lambda: server).checks
        return [checks[name].detail for name in ("cache_memory", "workers", "clocks")]

    roomy = replace(SERVER, used_bytes=9_207_720, limit_bytes=0, clock_ahead_s=-0.0123)
    clocks = "cache 12 ms behind, ledger agrees"
    assert told(roomy) == ["8.8 MiB are used, and no limit is set", "1 drain at work", clocks]
    assert told(replace(roomy, limit_bytes=256 * 1024**2))[0] == "8.8 MiB of 256 MiB are used"
    full = told(replace(roomy, limit_bytes=9 * 1024**2))[0]
    assert full.startswith("8.8 MiB of 9 MiB are used, and the rest is kept for settling")


def test_a_queue_that_is_away_only_degrades(healthy: World) -> None:
    def away() -> None:
        raise CacheUnavailable("refused")

    readiness = look(healthy, queue=away)
    assert (readiness.status, readiness.ready, red(readiness).keys()) == ("degraded", True, {"queue"})


def test_webhooks_whose_events_nobody_reads_only_degrade(healthy: World) -> None:
    old = LEFT_UNREAD_S + 1
    lags = {"whe_1": Lag(3.0, 5, waits=False), "whe_2": Lag(old, 5, waits=False)}
    readiness = look(healthy, lags=lags)
    assert (readiness.status, readiness.ready, red(readiness).keys()) == ("degraded", True, {"webhooks"})
    assert "whe_2" in red(readiness)["webhooks"]
    assert "workers.deliver" in red(readiness)["webhooks"]
    refusing = look(healthy, lags={"whe_1": Lag(old, 5, waits=True)})
    assert refusing.status == "ready", "it is told, and does not take it: that is not this installation's fault"


def test_a_drain_that_is_silent_is_not_counted(healthy: World) -> None:
    [heartbeat] = healthy.cache.heartbeats.all()
    for age_s, ok in ((HEARD_S - 1, True), (HEARD_S + 1, False)):
        readiness = look(healthy, all=lambda age_s=age_s: [replace(heartbeat, age_s=age_s)])
        assert readiness.checks["workers"].ok is ok


def test_posting_is_judged_by_rounds_that_succeed_while_something_waits(healthy: World) -> None:
    [heartbeat] = healthy.cache.heartbeats.all()
    failing = replace(heartbeat, idle_s=STALLED_S + 1, failure="LedgerUnavailable: No space left on device")
    now_ms = healthy.cache.inspection.server().clock_ms

    def posting(age_s: float, *heartbeats: Any) -> Any:
        oldest = {0: f"{now_ms - int(age_s * 1000)}-0"}
        server = replace(SERVER, clock_ms=now_ms)
        calls = {"oldest": lambda: oldest, "all": lambda: list(heartbeats), "server": lambda: server}
        return look(healthy, **calls).checks["posting"]

    assert posting(STALLED_S + 1, heartbeat).ok, "a drain at work may have much to do"
    assert posting(STALLED_S - 1, failing).ok, "it may heal"
    assert "waits for 12 h 43 min (" in posting(45_812, failing).detail
    assert not posting(STALLED_S + 1, failing).ok
    assert "No space left" in posting(STALLED_S + 1, failing).detail
    assert "hangs" in posting(STALLED_S + 1, replace(failing, failure="")).detail
    assert look(healthy, all=lambda: [failing]).checks["posting"].ok, "nothing waits"


def test_an_intent_of_the_future_grows_old_from_when_it_was_seen() -> None:
    clock = StepClock()
    oldest = OldestIntent(clock)
    waiting = {0: "1000000-0"}
    assert oldest.age_s(waiting, clock_ms=1_000) == 0.0
    clock.now += 20
    assert oldest.age_s(waiting, clock_ms=21_000) == 20.0
    assert oldest.age_s({0: "1000000-1"}, clock_ms=21_000) == 0.0, "another one"
    assert oldest.age_s({}, clock_ms=21_000) is None


def test_a_read_only_ledger_is_seen(healthy: World) -> None:
    with healthy.read_only_ledger():
        seen = healthy.ledger_server()
    assert (seen.is_standby, seen.is_read_only) == (False, True)
    assert not healthy.ledger_server().is_read_only
    assert abs(healthy.ledger_server().clock_ahead_s) < CLOCK_BOUND_S
