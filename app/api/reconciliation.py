"""Reconciliation: its runs and how far they are, asking for one, and the ageing of open breaks."""

from typing import Annotated, Any, Literal

from msgspec import Struct

from app.api.fields import Count, Moment, Total, number_of, one_of
from app.api.json_body import RequestObject
from app.api.parameters import AFTER_NUMBER, ENTITY, LIMIT
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.break_workflow import AgeingLine
from app.domain.found_breaks import BreakSource
from app.domain.proof_history import ProofRun
from app.domain.proof_requests import ProofRequest, RequestMode, RequestOutcome, request_not_found, run_not_found
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

_OUTCOMES = [one.value for one in RequestOutcome]


class RunBody(Struct):
    """One run. `checked` counts what it has looked at so far, `expected` what it set out to; `asked_by` is null for a
    run that was due. `state` is `broken_off` where the process of a run must be gone.
    """

    run_id: str
    mode: Literal["incremental", "full", "identity"]
    state: Literal["under_way", "finished", "broken_off"]
    started_at: Moment
    heard_at: Moment | None
    finished_at: Moment | None
    asked_by: str | None
    checked: dict[str, int]
    expected: dict[str, int]
    break_count: Count | None


class NewRun(RequestObject):
    """A run to ask for: over what is new and what open breaks are about, or over everything."""

    mode: Literal["incremental", "full"]


class ProofRequestBody(Struct):
    """What was asked of the reconciliation. `state` is waiting, under_way, or what has come of it; `run_id` is then the
    run that shows it.
    """

    request_id: str
    mode: Annotated[str, one_of([one.value for one in RequestMode])]
    break_id: str | None
    account_id: str | None
    reason: str
    asked_by: str
    asked_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    state: Annotated[str, one_of(["waiting", "under_way", *_OUTCOMES])]
    run_id: str | None
    detail: str


class AgeingBody(Struct):
    """Open breaks of one account in one currency; both are null for breaks about no account.

    The sum adds differences in minor units without their sign.
    """

    source: Annotated[str, one_of([one.value for one in BreakSource])]
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    under_1_day: Count
    from_1_to_3_days: Count
    from_3_to_7_days: Count
    over_7_days: Count
    breaks: Count
    overdue: Count
    without_owner: Count
    sum_minor: Total
    oldest_at: Moment


@routes.add(
    "GET",
    "/v1/reconciliation-runs",
    "List reconciliations, the latest first",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: RunBody},
    parameters=(LIMIT, AFTER_NUMBER),
    paged=True,
)
def list_runs(call: Call[None]) -> Answer:
    """One page of runs."""
    limit = call[LIMIT]
    found = call.here.proofs.runs(limit=limit, before=call[AFTER_NUMBER] or None)
    return page_answer([_run(call, one) for one in found], limit, str(found[-1].run_id) if found else None)


@routes.add(
    "GET",
    "/v1/reconciliation-runs/{run_id}",
    "Read a reconciliation, and how far it is",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: RunBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_run(call: Call[None]) -> Answer:
    """One run."""
    number = number_of(call.path["run_id"])
    found = None if number is None else call.here.proofs.run(number)
    return problem(run_not_found(call.path["run_id"])) if found is None else json_answer(_run(call, found))


@routes.add(
    "POST",
    "/v1/reconciliation-runs",
    "Ask for a reconciliation; the maintenance worker does it at once",
    scope=Scope.ADMIN,
    of_installation=True,
    body=Body(NewRun),
    answers={202: ProofRequestBody},
)
def ask_run(call: Call[NewRun]) -> Answer:
    """Ask for a run."""
    request = call.here.proof_requests.ask_run(full=call.body.mode == "full", actor=call.actor)
    return json_answer(request_body(request), 202)


@routes.add(
    "GET",
    "/v1/reconciliation-requests/{request_id}",
    "What has come of a run or a repair that was asked for",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: ProofRequestBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_request(call: Call[None]) -> Answer:
    """One request."""
    number = number_of(call.path["request_id"])
    found = None if number is None else call.here.proof_requests.get(number)
    if found is None:
        raise Refused(request_not_found(call.path["request_id"]))
    return json_answer(request_body(found))


@routes.add(
    "GET",
    "/v1/reports/break-ageing",
    "The ageing report: open breaks by account, currency and age, those with the oldest first",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: AgeingBody},
    parameters=(ENTITY,),
    paged=True,
)
def break_ageing(call: Call[None]) -> Answer:
    """The whole report: a line an account with open breaks."""
    lines = call.here.breaks.ageing(call.here.now(), call[ENTITY])
    return json_answer({"data": [_ageing(line) for line in lines], "next": None})


def request_body(request: ProofRequest) -> ProofRequestBody:
    """A request as it is answered."""
    moments = {name: getattr(request, name) for name in ("asked_at", "started_at", "finished_at")}
    texts: dict[str, Any] = {name: None if at is None else rfc3339(at) for name, at in moments.items()}
    return ProofRequestBody(
        request_id=str(request.request_id),
        mode=request.mode.value,
        break_id=None if request.break_id is None else str(request.break_id),
        account_id=request.account_id,
        reason=request.reason,
        asked_by=request.asked_by,
        state=request.state,
        run_id=None if request.run_id is None else str(request.run_id),
        detail=request.detail,
        **texts,
    )


def _run(call: Call[Any], run: ProofRun) -> RunBody:
    state = "finished" if run.finished_at is not None else "under_way"
    mode: Any = run.mode
    finished: Any = "broken_off" if run.is_broken_off(call.here.now()) else state
    return RunBody(
        run_id=str(run.run_id),
        mode=mode,
        state=finished,
        started_at=rfc3339(run.started_at),
        heard_at=None if run.heard_at is None else rfc3339(run.heard_at),
        finished_at=None if run.finished_at is None else rfc3339(run.finished_at),
        asked_by=run.asked_by,
        checked=dict(run.checked),
        expected=dict(run.expected),
        break_count=None if run.finished_at is None else run.break_count,
    )


def _ageing(line: AgeingLine) -> AgeingBody:
    under_1_day, from_1_to_3_days, from_3_to_7_days, over_7_days = line.counts
    return AgeingBody(
        source=line.source.value,
        account_id=line.account_id,
        entity_id=line.entity_id,
        currency_code=line.currency_code,
        under_1_day=under_1_day,
        from_1_to_3_days=from_1_to_3_days,
        from_3_to_7_days=from_3_to_7_days,
        over_7_days=over_7_days,
        breaks=line.total,
        overdue=line.overdue,
        without_owner=line.nobodys,
        sum_minor=line.sum_minor,
        oldest_at=rfc3339(line.oldest_at),
    )
