"""Reconciliation: what is proved, what is open and how old it is, the runs, and asking for one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.dashboard import break_words
from app.dashboard.context import here
from app.dashboard.frame import actor, entity, for_print, may, needs, part, standing_now
from app.dashboard.requests import Filters
from app.domain.break_workflow import UNSETTLED, BreakFilter, BreakState
from app.domain.found_breaks import BreakSource
from app.domain.proof_history import ProofRun
from app.domain.users import Role

pages = Blueprint("reconciliation", __name__)

LISTED_BREAKS = 50
LISTED_RUNS = 500
"""A run each ten seconds, most of them folded into a few lines."""
FOLDED_FROM = 3
"""Runs in a row that found nothing new and become one line."""
TOLD_FOR = timedelta(minutes=10)
"""How long the page tells on top what a run that was asked for has found."""


@dataclass(slots=True, frozen=True)
class FoldedRuns:
    """Runs in a row that were due and found nothing new, the latest first."""

    runs: Sequence[ProofRun]

    @property
    def break_count(self) -> int:
        """How many breaks each of them has seen, all of them known before."""
        return self.runs[0].break_count

    @property
    def longest_s(self) -> float:
        """The longest of them, in seconds."""
        return max(run.seconds or 0.0 for run in self.runs)

    def checked(self, what: str) -> int:
        """How much of something they have checked together."""
        return sum(run.checked.get(what, 0) for run in self.runs)


@pages.get("/reconciliation")
def page() -> str:
    """What is under way, the breaks inside and outside, their ages, and the runs."""
    filters = Filters()
    under_way = _under_way()  # before the runs: what ends between the two reads is told as ended
    runs = here().api.proofs.runs(limit=LISTED_RUNS, before=filters.number("before"))
    found = here().api.proofs.break_ids([run.run_id for run in runs if run.break_count])
    return render_template(
        "reconciliation.html",
        standing=standing_now(),
        inside=_open(BreakSource.INSIDE),
        outside=_open(BreakSource.OUTSIDE),
        ageing=here().api.breaks.ageing(here().now(), entity()),
        folded=folded(runs, found),
        found=found,
        older=runs[-1].run_id if len(runs) == LISTED_RUNS else None,
        last_settled=_last_settled(),
        ended=_ended(runs),
        words=break_words,
        **under_way,
    )


@pages.get("/reconciliation/under-way")
def under_way() -> Response:
    """The runs under way alone, to be put in their place; once none is, the page is loaded again with their result."""
    found = _under_way()
    return part(render_template("under_way.html", **found), is_over=not any(found.values()))


@pages.post("/reconciliation/runs")
@needs(Role.ACCOUNTANT)
def ask_run() -> Response:
    """Ask for a run; a full one takes a controller, because it reads the whole ledger."""
    full = request.form.get("mode") == "full"
    if full and not may(Role.CONTROLLER):
        abort(403)
    here().api.proof_requests.ask_run(full=full, actor=actor())
    return redirect(url_for("reconciliation.page"), 303)


@pages.get("/reconciliation/runs/<int:run_id>")
def run(run_id: int) -> str:
    """One run with what it has checked and found."""
    found = here().api.proofs.run(run_id)
    if found is None:
        abort(404)
    wanted = here().api.proofs.break_ids([run_id]).get(run_id, [])
    breaks = [history.record for one in wanted[:LISTED_BREAKS] if (history := here().api.breaks.get(one))]
    return render_template("run.html", run=found, breaks=breaks, number=len(wanted), words=break_words)


def folded(runs: Sequence[ProofRun], found: Mapping[int, Sequence[int]]) -> list[ProofRun | FoldedRuns]:
    """The runs, latest first, where those in a row that found nothing new are one line; in print every run is one.

    `found` has the breaks that a run found first.
    """
    lines: list[ProofRun | FoldedRuns] = []
    for (is_routine, _), group in groupby(runs, lambda one: (_is_routine(one, found), one.break_count)):
        some = list(group)
        lines += _line_of(some) if is_routine else some
    return lines


def _is_routine(one: ProofRun, found: Mapping[int, Sequence[int]]) -> bool:
    is_due = one.mode == "incremental" and one.asked_by is None
    return is_due and one.finished_at is not None and not found.get(one.run_id)


def _line_of(alike: list[ProofRun]) -> list[ProofRun | FoldedRuns]:
    """The latest stands for itself, because the bar names it."""
    if for_print() or len(alike) <= FOLDED_FROM:
        return list(alike)
    return [alike[0], FoldedRuns(alike[1:])]


def _open(source: BreakSource) -> tuple[list[object], int]:
    wanted = BreakFilter(source=source, states=UNSETTLED, entity_id=entity())
    found, number = here().api.breaks.due_first(wanted, limit=LISTED_BREAKS)
    return list(found), number


def _ended(runs: Sequence[ProofRun]) -> ProofRun | None:
    """The last run that somebody asked for, if it has ended just now."""
    asked = next((one for one in runs if one.asked_by is not None), None)
    is_told = asked is not None and asked.finished_at is not None and here().now() - asked.finished_at < TOLD_FOR
    return asked if is_told else None


def _last_settled() -> object:
    wanted = BreakFilter(source=BreakSource.INSIDE, states=(BreakState.RESOLVED, BreakState.ACCEPTED))
    found, _ = here().api.breaks.due_first(wanted, limit=1)
    return found[0] if found else None


def _under_way() -> dict[str, object]:
    """The requests come first: one that begins between the two reads is found twice and not missed twice."""
    requests = here().api.proof_requests.unfinished()
    now = here().now()
    recent = here().api.proofs.runs(limit=20)
    running = [one for one in recent if one.finished_at is None and not one.is_broken_off(now)]
    return {"running": running, "requests": requests}
