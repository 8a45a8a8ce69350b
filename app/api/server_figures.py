"""The figures of `/metrics` that no process counts: they are read from the cache and the ledger when somebody asks.

So they are the same whichever process answers, and after any restart.
"""

import logging
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.break_metrics import break_metrics
from app.api.context import ApiServices
from app.domain.errors import Fault

log = logging.getLogger(__name__)

HOTTEST = 50
"""Accounts with a conflict metric of their own: metrics must not grow with the number of accounts."""


class ServerFigures(Collector):
    """Reads every figure when it is asked, after what the processes have measured."""

    def __init__(self, here: ApiServices) -> None:
        self._here = here

    def collect(self) -> Iterator[Metric]:
        """One metric family for each figure."""
        yield from self._here.measured()
        answers = GaugeMetricFamily(
            "holdfast_server_answers", "Whether the figures of a server could be read", labels=["server"]
        )
        for server, read in {"cache": self._of_cache, "ledger": self._of_ledger}.items():
            families = self._read(read)
            answers.add_metric([server], int(families is not None))
            yield from families or ()
        yield answers

    def _read(self, read: Callable[[], Iterator[Metric]]) -> list[Metric] | None:
        try:
            return list(read())
        except Fault as fault:
            log.warning("figures are missing: %s: %s", type(fault).__name__, fault)
            return None

    def _of_cache(self) -> Iterator[Metric]:
        """What has been decided, what waits for the ledger, and how the cache and the drains are."""
        cache = self._here.cache
        outcomes = CounterMetricFamily(
            "holdfast_reserve_outcomes", "Payments by outcome of the script", labels=["outcome"]
        )
        for outcome, count in sorted(cache.inspection.tallies().items()):
            outcomes.add_metric([outcome.lower()], count)
        yield outcomes
        backlog = GaugeMetricFamily("holdfast_backlog", "Intents waiting for the ledger", labels=["partition"])
        for partition, length in cache.outbox.backlog().items():
            backlog.add_metric([str(partition)], length)
        yield backlog
        yield from self._of_server()
        silent = GaugeMetricFamily("holdfast_drain_silence_seconds", "Since a drain was heard", labels=["process"])
        for heartbeat in cache.heartbeats.all():
            silent.add_metric([heartbeat.process], heartbeat.age_s)
        yield silent
        counted, lost = cache.audit_tallies.read()
        yield CounterMetricFamily("holdfast_audit_counted_calls", "Calls that the audit only counted", value=counted)
        yield CounterMetricFamily("holdfast_audit_lost_calls", "Calls whose records are lost", value=lost)

    def _of_server(self) -> Iterator[Metric]:
        """Memory and clock of the cache, and by that clock the age of the outboxes."""
        server = self._here.cache.inspection.server()
        memory = GaugeMetricFamily("holdfast_cache_memory_bytes", "Memory of the cache; no limit is 0", labels=["kind"])
        memory.add_metric(["used"], server.used_bytes)
        memory.add_metric(["limit"], server.limit_bytes)
        yield memory
        yield GaugeMetricFamily(
            "holdfast_clock_ahead_seconds", "Clock of the cache ahead of this machine's", value=server.clock_ahead_s
        )
        oldest = self._here.cache.outbox.oldest()
        age = GaugeMetricFamily(
            "holdfast_oldest_intent_seconds", "Age of the oldest unsettled intent", labels=["partition"]
        )
        for partition in range(self._here.cache.partitions):
            stamped_ms = int(oldest.get(partition, f"{server.clock_ms}-0").partition("-")[0])
            age.add_metric([str(partition)], max(0, server.clock_ms - stamped_ms) / 1000)
        yield age

    def _of_ledger(self) -> Iterator[Metric]:
        """Conflicts, breaks and runs of the proofs."""
        history = self._here.history
        retries = CounterMetricFamily("holdfast_conflict_retries", "Posting retries by account", labels=["account_id"])
        exhausted = CounterMetricFamily(
            "holdfast_conflict_exhausted", "Retries used up by account", labels=["account_id"]
        )
        for conflict in history.conflicts(HOTTEST):
            retries.add_metric([conflict.account_id], conflict.retries)
            exhausted.add_metric([conflict.account_id], conflict.exhausted)
        yield retries
        yield exhausted
        yield GaugeMetricFamily("holdfast_open_breaks", "Unsettled breaks", value=history.open_breaks())
        yield from break_metrics(self._here)
        yield from self._of_webhooks()

    def _of_webhooks(self) -> Iterator[Metric]:
        """What webhook endpoints have not taken, and since when."""
        ledger = self._here.endpoints.ledger
        counts, lags = ledger.counts(), ledger.lags()
        events = GaugeMetricFamily("holdfast_webhook_events", "Undelivered events", labels=["endpoint_id", "state"])
        lag = GaugeMetricFamily("holdfast_webhook_lag_seconds", "Age of the oldest of them", labels=["endpoint_id"])
        for endpoint_id in sorted(counts.keys() | lags.keys()):
            waiting, dead = counts.get(endpoint_id, (0, 0))
            events.add_metric([endpoint_id, "waiting"], waiting)
            events.add_metric([endpoint_id, "dead"], dead)
        for endpoint_id, one in lags.items():
            events.add_metric([endpoint_id, "unread"], one.unread)
            lag.add_metric([endpoint_id], one.seconds)
        yield events
        yield lag
