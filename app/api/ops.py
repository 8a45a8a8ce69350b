"""Operations: health, readiness and metrics."""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.break_metrics import break_metrics
from app.api.context import ApiServices
from app.api.fields import Count
from app.api.responses import Answer, json_answer
from app.api.routes import Call, Routes, Text
from app.domain.read_models import Durability
from app.services.access.api_keys import Scope
from app.services.proofs.readiness import ReadinessStatus

routes = Routes()

HOTTEST = 50
"""Accounts with a conflict metric of their own: metrics must not grow with the number of accounts."""


class Alive(Struct):
    """The process answers."""

    status: Literal["alive"]


class CheckBody(Struct):
    """One condition of readiness."""

    ok: bool
    detail: str


class Ready(Struct):
    """Whether payments can be accepted, and what an acknowledgement survives.

    `status` is `degraded` if only a check fails without which payments are posted more slowly.
    `backlog` is how many intents wait for the ledger, null while the cache does not answer.
    """

    status: ReadinessStatus
    durability: Durability
    backlog: Count | None
    checks: dict[str, CheckBody]


@routes.add(
    "GET",
    "/healthz",
    "Whether the process is alive",
    scope=None,
    answers={200: Alive},
)
def alive(call: Call[None]) -> Answer:  # noqa: ARG001 - it asks nothing
    """Always yes, while the process answers."""
    return json_answer(Alive("alive"))


@routes.add(
    "GET",
    "/readyz",
    "Whether payments can be accepted",
    scope=None,
    answers={200: Ready, 503: Ready},
)
def ready(call: Call[None]) -> Answer:
    """Check the cache, the ledger, its migrations and the workers."""
    readiness = call.here.readiness.look()
    checks = {name: CheckBody(check.ok, check.detail) for name, check in readiness.checks.items()}
    body = Ready(readiness.status, readiness.durability, readiness.backlog, checks)
    return json_answer(body, 200 if readiness.ready else 503)


class _FiguresCollector(Collector):
    """Reads every figure when it is asked; this process counts nothing."""

    def __init__(self, here: ApiServices) -> None:
        self._here = here

    def collect(self) -> Iterator[Metric]:
        """One metric family per figure."""
        outcomes = CounterMetricFamily(
            "holdfast_reserve_outcomes", "Payments by outcome of the script", labels=["outcome"]
        )
        for outcome, count in sorted(self._here.cache.inspection.tallies().items()):
            outcomes.add_metric([outcome.lower()], count)
        yield outcomes
        backlog = GaugeMetricFamily("holdfast_backlog", "Intents waiting for the ledger", labels=["partition"])
        for partition, length in self._here.cache.outbox.backlog().items():
            backlog.add_metric([str(partition)], length)
        yield backlog
        yield from self._of_servers()
        retries = CounterMetricFamily("holdfast_conflict_retries", "Posting retries by account", labels=["account_id"])
        exhausted = CounterMetricFamily(
            "holdfast_conflict_exhausted", "Retries used up by account", labels=["account_id"]
        )
        for conflict in self._here.history.conflicts(HOTTEST):
            retries.add_metric([conflict.account_id], conflict.retries)
            exhausted.add_metric([conflict.account_id], conflict.exhausted)
        yield retries
        yield exhausted
        counted, lost = self._here.cache.audit_tallies.read()
        yield CounterMetricFamily("holdfast_audit_counted_calls", "Calls that the audit only counted", value=counted)
        yield CounterMetricFamily("holdfast_audit_lost_calls", "Calls whose records are lost", value=lost)
        yield GaugeMetricFamily("holdfast_open_breaks", "Unsettled breaks", value=self._here.history.open_breaks())
        yield from break_metrics(self._here)

    def _of_servers(self) -> Iterator[Metric]:
        """How the cache and the drains are."""
        server = self._here.cache.inspection.server()
        memory = GaugeMetricFamily("holdfast_cache_memory_bytes", "Memory of the cache; no limit is 0", labels=["kind"])
        memory.add_metric(["used"], server.used_bytes)
        memory.add_metric(["limit"], server.limit_bytes)
        yield memory
        yield GaugeMetricFamily(
            "holdfast_clock_ahead_seconds", "Clock of the cache ahead of this machine's", value=server.clock_ahead_s
        )
        oldest_ms = [int(stream_id.partition("-")[0]) for stream_id in self._here.cache.outbox.oldest().values()]
        age_s = max(0, server.clock_ms - min(oldest_ms, default=server.clock_ms)) / 1000
        yield GaugeMetricFamily("holdfast_oldest_intent_seconds", "Age of the oldest unsettled intent", value=age_s)
        silent = GaugeMetricFamily("holdfast_drain_silence_seconds", "Since a drain was heard", labels=["process"])
        for heartbeat in self._here.cache.heartbeats.all():
            silent.add_metric([heartbeat.process], heartbeat.age_s)
        yield silent


@routes.add(
    "GET",
    "/metrics",
    "Figures for monitoring, in the text format of Prometheus",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: Text(CONTENT_TYPE_LATEST)},
    keeps_answer=False,
)
def metrics(call: Call[None]) -> Answer:
    """Every figure as it stands now."""
    registry = CollectorRegistry()
    registry.register(_FiguresCollector(call.here))
    return Answer(200, generate_latest(registry), [("content-type", CONTENT_TYPE_LATEST)])
