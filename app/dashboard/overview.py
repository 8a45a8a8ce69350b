"""The overview: whether the books are right, proved by which run, and how the system is at work."""

from collections.abc import Sequence

from flask import Blueprint, render_template

from app.dashboard import charts
from app.dashboard.charts import Chart
from app.dashboard.context import here
from app.dashboard.frame import standing_now
from app.domain.break_workflow import UNSETTLED, BreakFilter
from app.domain.errors import Fault
from app.domain.heat import Heat
from app.services.posting.activity import Piece

pages = Blueprint("overview", __name__)

HOTTEST = 5
FIRST_BREAKS = 5


@pages.get("/")
def page() -> str:
    """The whole page."""
    hour, days = here().activity.last_hour(), here().activity.last_days()
    standing = standing_now()
    proof = standing.last_full or standing.last
    since = proof.started_at if proof else None
    return render_template(
        "overview.html",
        standing=standing,
        breaks=here().api.breaks.due_first(BreakFilter(states=UNSETTLED), limit=FIRST_BREAKS)[0],
        posted_since=None if since is None else here().activity.posted_since(since),
        posted=sum(here().activity.total()),
        charts=[payments_chart(hour), delay_chart(hour), days_chart(days)],
        hot=here().api.history.conflicts(HOTTEST),
        **_figures(hour),
    )


@pages.get("/overview/figures")
def figures() -> str:
    """The live figures alone, to be put in their place."""
    return render_template("figures.html", **_figures(here().activity.last_hour()))


def _figures(hour: Sequence[Piece]) -> dict[str, object]:
    complete = hour[:-1]
    measured = [piece for piece in hour if piece.median_s is not None]
    midnight = here().now().replace(hour=0, minute=0, second=0, microsecond=0)
    today = here().api.operations.heat(midnight, Heat.RETRIES, "", 0)
    return {
        "per_second": complete[-1].per_second,
        "most_per_second": max(piece.per_second for piece in complete),
        "latest": measured[-1] if measured else None,
        "held": here().activity.held(),
        "waiting": here().activity.waiting(),
        "open_breaks": here().api.history.open_breaks(),
        "retries": today.retries,
        "exhausted": sum(one.exhausted for one in today.given_up),
        "is_ready": _is_ready(),
    }


def _is_ready() -> str:
    try:
        return here().api.readiness.look().status
    except Fault:
        return "not_ready"


def payments_chart(hour: Sequence[Piece]) -> Chart:
    """Payments a second over the last hour."""
    values = [piece.per_second for piece in hour[:-1]]
    top = charts.ceiling(max(values))
    line = charts.path(values, top)
    return Chart(
        "Payments a second, last hour",
        f"now {values[-1]:.1f}, lowest {min(values):.1f}, highest {max(values):.1f}",
        "line",
        [charts.short_number(top), charts.short_number(top / 2), "0"],
        _hour_axis(hour),
        charts.points("Payments a second", [piece.begins_at for piece in hour[:-1]], ("a second", values)),
        top,
        charts.grid(),
        line=line,
        area=charts.closed(line, values),
    )


def delay_chart(hour: Sequence[Piece]) -> Chart:
    """From acceptance to the ledger, over the last hour."""
    medians = [None if piece.median_s is None else piece.median_s * 1000 for piece in hour[:-1]]
    highs = [None if piece.high_s is None else piece.high_s * 1000 for piece in hour[:-1]]
    known = [value for value in highs if value is not None]
    top = charts.ceiling(max(known, default=1.0))
    half = sorted(value for value in medians if value is not None)
    caption = "nothing was posted"
    if known:
        caption = f"half within {half[len(half) // 2]:,.0f} ms, 99 of 100 within {max(known):,.0f} ms"
    return Chart(
        "Time to posted, last hour",
        caption,
        "line",
        [f"{charts.short_number(top)} ms", charts.short_number(top / 2), "0"],
        _hour_axis(hour),
        charts.points(
            "Milliseconds to posted",
            [piece.begins_at for piece in hour[:-1]],
            ("99 of 100 within", highs),
            ("half within", medians),
        ),
        top,
        charts.grid(),
        line=charts.path(highs, top),
        second=charts.path(medians, top),
    )


def days_chart(days: Sequence[Piece]) -> Chart:
    """Payments a day over thirty days."""
    values = [float(piece.payments) for piece in days]
    top = charts.ceiling(max(values))
    middle = days[len(days) // 2].begins_at
    return Chart(
        "Payments a day, thirty days",
        f"{days[-1].payments:,} so far today, highest {max(values):,.0f}",
        "bars",
        [charts.short_number(top), charts.short_number(top / 2), "0"],
        [f"{at.day} {at:%b}" for at in (days[0].begins_at, middle, days[-1].begins_at)],
        charts.points("Payments a day", [piece.begins_at for piece in days], ("payments", values)),
        top,
        charts.grid(),
        bars=charts.bars(values, top),
    )


def _hour_axis(hour: Sequence[Piece]) -> list[str]:
    first, last = hour[0].begins_at, hour[-1].begins_at
    return [f"{first:%H:%M} UTC", f"{first + (last - first) / 2:%H:%M}", f"{last:%H:%M}"]
