"""Metrics in the text format of Prometheus."""

from collections.abc import Iterator

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.api.access import operation
from app.api.context import services
from app.services.figures import Figures
from app.services.keys import Scope

blueprint = Blueprint("metrics", __name__)


class _FiguresCollector(Collector):
    """Turns the figures of one moment into metrics; nothing is counted in this process."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """One family a figure."""
        outcomes = CounterMetricFamily(
            "holdfast_reserve_outcomes", "Payments by outcome of the script", labels=["outcome"]
        )
        for outcome, count in sorted(self._figures.outcomes.items()):
            outcomes.add_metric([outcome.lower()], count)
        yield outcomes
        backlog = GaugeMetricFamily("holdfast_backlog", "Intents waiting for the books", labels=["partition"])
        for partition, length in self._figures.backlog.items():
            backlog.add_metric([str(partition)], length)
        yield backlog
        retries = CounterMetricFamily("holdfast_conflict_retries", "Posting retries by account", labels=["account_id"])
        exhausted = CounterMetricFamily(
            "holdfast_conflict_exhausted", "Retries used up by account", labels=["account_id"]
        )
        for conflict in self._figures.conflicts:
            retries.add_metric([conflict.account_id], conflict.retries)
            exhausted.add_metric([conflict.account_id], conflict.exhausted)
        yield retries
        yield exhausted
        yield GaugeMetricFamily("holdfast_open_breaks", "Unsettled breaks", value=self._figures.open_breaks)


@blueprint.get("/metrics")
@operation("Figures for monitoring, in the text format of Prometheus", scope=Scope.READ, answers={200: None})
def metrics() -> Response:
    """Every figure, read now."""
    registry = CollectorRegistry()
    registry.register(_FiguresCollector(services().figures.read()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
