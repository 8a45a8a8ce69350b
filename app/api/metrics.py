"""What a process of the API measures, and how `/metrics` tells what all processes of a machine have measured.

The processes share a directory of small files, as the Prometheus client does it, where `PROMETHEUS_MULTIPROC_DIR` names
one. Without it `/metrics` tells what the answering process itself has measured.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.domain.origin import Origin
from app.domain.spans import end_call

HTTP_SECONDS = Histogram(
    "holdfast_http_request_seconds",
    "From a request's head to its answer",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
AUDIT_WAITING = Gauge(
    "holdfast_audit_waiting_records", "Records of calls that wait for the ledger", multiprocess_mode="livesum"
)

_OF_NO_ROUTE = "none"
"""The route of what came to none: paths that somebody makes up must not make series."""

_children: dict[tuple[str | None, str | None, int], Histogram] = {}


def note_answered(origin: Origin, status: int, now_ns: int) -> None:
    """Note how long a request took, and end its span; `now_ns` is of the process's steady clock."""
    key = (origin.method if origin.route else _OF_NO_ROUTE, origin.route, status)
    child = _children.get(key)
    if child is None:
        child = _children[key] = HTTP_SECONDS.labels(key[0], origin.route or _OF_NO_ROUTE, str(status))
    child.observe((now_ns - origin.began_ns) / 1e9)
    end_call(origin, status)


def measured(directory: str) -> Iterator[Metric]:
    """What the processes that share a directory have measured; of this process alone where it is empty."""
    if directory:
        _forget_dead(Path(directory))
        yield from MultiProcessCollector(CollectorRegistry(), directory).collect()  # type: ignore[no-untyped-call]
        return
    for metric in REGISTRY.collect():
        if metric.name.startswith("holdfast_"):
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


def _forget_dead(directory: Path) -> None:
    """Drop what processes that have ended told of their present state; what they counted stays."""
    for pid in {path.stem.rpartition("_")[2] for path in directory.glob("gauge_live*.db")}:
        with suppress(PermissionError):
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                mark_process_dead(int(pid), str(directory))  # type: ignore[no-untyped-call]
