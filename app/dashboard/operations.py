"""Operations: whether payments are taken, processes, partitions, what waits, and where postings wait for each other."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from flask import Blueprint, render_template
from werkzeug.wrappers import Response

from app.dashboard.context import here
from app.dashboard.downloads import csv_answer
from app.dashboard.formats import read_moment
from app.dashboard.frame import for_print
from app.dashboard.requests import Filters
from app.domain.csv_export import Value
from app.domain.errors import Fault
from app.domain.heat import STEPS, Heat, HeatMap, level_of
from app.domain.timestamps import rfc3339
from app.services.proofs.readiness import Readiness

pages = Blueprint("operations", __name__)

HOTTEST = 10
HOTTEST_IN_PRINT = 50
HEAD = ("hour", "account_id", "retries", "exhausted", "queued_ms", "longest_ms")


@pages.get("/operations")
def page() -> str | Response:
    """The page; `format=csv` is what was counted of the day's conflicts."""
    filters = Filters()
    what = filters.choice("what", Heat) or Heat.RETRIES
    today = _midnight(here().now())
    day = _midnight(filters.read("day", read_moment) or today)
    begins_with = filters.text("account_id")
    most = HOTTEST_IN_PRINT if for_print() else HOTTEST
    heat = here().api.operations.heat(day, what, begins_with, most)
    if filters.text("format") == "csv" and not filters.errors:
        return csv_answer(f"conflicts-{day:%Y-%m-%d}", HEAD, _rows(heat))
    cache = here().api.operations.cache()
    partitions = here().api.operations.partitions(cache)
    return render_template(
        "operations.html",
        readiness=_readiness(),
        cache=cache,
        oldest_s=max(cache.oldest_s.values(), default=None) if cache else None,
        partitions=partitions,
        sessions=here().api.operations.sessions(),
        heat=heat,
        day=day,
        is_today=day == today,
        earlier=day - timedelta(days=1),
        later=day + timedelta(days=1),
        what=what,
        level=level_of,
        legend=_legend(what),
        begins_with=begins_with,
        filters=filters,
    )


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _readiness() -> Readiness | None:
    try:
        return here().api.readiness.look()
    except Fault:
        return None


def _legend(what: Heat) -> list[str]:
    """What each shade stands for, in words."""
    steps = STEPS[what]
    between = [f"{low + 1:,}–{high:,}" for low, high in pairwise(steps)]
    return ["0", *between, f"over {steps[-1]:,}"]


def _rows(heat: HeatMap) -> Iterator[tuple[Value, ...]]:
    for one in sorted(heat.counted, key=lambda one: (one.hour, one.account_id)):
        figures = (one.retries, one.exhausted, round(one.queued_us / 1000), round(one.longest_us / 1000))
        yield (rfc3339(one.hour), one.account_id, *figures)
