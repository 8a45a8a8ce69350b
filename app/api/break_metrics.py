"""Figures of breaks and runs, for monitoring. They are read from the ledger when they are asked for."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from app.api.context import ApiServices
from app.domain.break_workflow import BreakState


def break_metrics(here: ApiServices) -> Iterator[Metric]:
    """How many breaks there are in each state, how late and how old they are, and how old the last proof is."""
    now = here.now()
    by_state = GaugeMetricFamily("holdfast_breaks", "Breaks by state", labels=["source", "kind", "state"])
    found = CounterMetricFamily("holdfast_breaks_found", "Breaks ever found", labels=["source", "kind"])
    overdue = GaugeMetricFamily("holdfast_overdue_breaks", "Open breaks past their date", labels=["source"])
    oldest = GaugeMetricFamily("holdfast_oldest_break_seconds", "Age of the oldest open break", labels=["source"])
    total: Counter[tuple[str, str]] = Counter()
    late = Counter(dict.fromkeys(("inside", "outside"), 0))
    since: dict[str, datetime] = {}
    for one in here.breaks.counts():
        by_state.add_metric([one.source, one.kind, one.state], one.count)
        total[one.source, one.kind] += one.count
        late[one.source] += one.overdue
        if not BreakState(one.state).is_settled:
            since[one.source] = min(one.oldest_at, since.get(one.source, one.oldest_at))
    for (source, kind), count in sorted(total.items()):
        found.add_metric([source, kind], count)
    for source, count in sorted(late.items()):
        overdue.add_metric([source], count)
        age_s = (now - since[source]).total_seconds() if source in since else 0
        oldest.add_metric([source], max(0.0, age_s))
    yield from (by_state, found, overdue, oldest)
    yield _last_runs(here, now)


def _last_runs(here: ApiServices, now: datetime) -> Metric:
    ages = GaugeMetricFamily("holdfast_reconciled_seconds", "Since the last run ended", labels=["mode"])
    last, last_full, _ = here.proofs.last_runs()
    for mode, run in (("any", last), ("full", last_full)):
        if run is not None and run.finished_at is not None:
            ages.add_metric([mode], max(0.0, (now - run.finished_at).total_seconds()))
    return ages
