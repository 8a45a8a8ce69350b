"""Balance monitors over HTTP: make, list, read and end them; their crossings are events."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from app.api.entity_binding import visible_account
from app.api.fields import Balance, Id, Moment, Name, one_of
from app.api.json_body import RequestObject, malformed
from app.api.parameters import ACCOUNT, AFTER, LIMIT, LOCATION
from app.api.request_refusals import nothing_of
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Body, Call, Routes
from app.domain.account_refusals import account_not_found
from app.domain.money import MAX_MINOR
from app.domain.monitors import Comparison, Measure, Monitor, NewMonitor
from app.domain.payment_checks import refuse_id
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

_MEASURES = [one.value for one in Measure]
_COMPARISONS = [one.value for one in Comparison]
MeasureName = Annotated[str, one_of(_MEASURES)]
ComparisonName = Annotated[str, one_of(_COMPARISONS)]
Threshold = Annotated[int, Meta(ge=-MAX_MINOR, le=MAX_MINOR, extra_json_schema={"format": "int64"})]


class NewMonitorBody(RequestObject):
    """A condition on an account's funds in the ledger, in minor units: `monitor.crossed` tells when it turns.

    At the threshold itself it does not hold. If it holds already, nothing is told before it has ceased to.
    """

    account_id: Id
    measure: MeasureName
    comparison: ComparisonName
    threshold_minor: Threshold
    name: Name = ""


class MonitorBody(Struct):
    """A monitor. `is_met`: whether its condition holds, by the last event that was looked at."""

    monitor_id: str
    account_id: str
    measure: MeasureName
    comparison: ComparisonName
    threshold_minor: Balance
    name: str
    is_met: bool
    created_by: str
    created_at: Moment
    ended_at: Moment | None


@routes.add(
    "POST",
    "/v1/monitors",
    "Make a balance monitor",
    scope=Scope.WEBHOOKS_WRITE,
    body=Body(NewMonitorBody),
    answers={201: MonitorBody},
    sends=(LOCATION,),
    refuses=frozenset({Code.INVALID_ID, Code.ACCOUNT_NOT_FOUND}),
)
def create_monitor(call: Call[NewMonitorBody]) -> Answer:
    """Make a monitor of an account that the key may see."""
    body = call.body
    if refusal := refuse_id("account_id", body.account_id):
        raise Refused(refusal)
    try:
        measure, comparison = Measure(body.measure), Comparison(body.comparison)
    except ValueError:
        wanted = f"one of {', '.join(_MEASURES)}, and comparison one of {', '.join(_COMPARISONS)}"
        raise malformed(f"measure must be {wanted}.", field="measure") from None
    account_id = visible_account(call, body.account_id) or ""
    made = call.here.monitors.create(
        NewMonitor(account_id, measure, comparison, body.threshold_minor, body.name), call.actor
    )
    if made is None:
        return problem(account_not_found(body.account_id))
    return json_answer(_body(made), 201, ("location", f"/v1/monitors/{made.monitor_id}"))


@routes.add(
    "GET",
    "/v1/monitors",
    "List the balance monitors that have not ended",
    scope=Scope.EVENTS_READ,
    answers={200: MonitorBody},
    parameters=(LIMIT, AFTER, ACCOUNT),
    paged=True,
)
def list_monitors(call: Call[None]) -> Answer:
    """One page of monitors, by id."""
    limit = call[LIMIT]
    found = call.here.monitors.ledger.page(
        limit=limit, after=call[AFTER], account_id=call[ACCOUNT], entities=call.entities
    )
    return page_answer([_body(one) for one in found], limit, found[-1].monitor_id if found else None)


@routes.add(
    "GET",
    "/v1/monitors/{monitor_id}",
    "Read a balance monitor",
    scope=Scope.EVENTS_READ,
    answers={200: MonitorBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_monitor(call: Call[None]) -> Answer:
    """One monitor."""
    return _shown(call, call.here.monitors.ledger.get(call.path["monitor_id"], call.entities))


@routes.add(
    "DELETE",
    "/v1/monitors/{monitor_id}",
    "End a balance monitor; the same again answers the same",
    scope=Scope.WEBHOOKS_WRITE,
    answers={200: MonitorBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def end_monitor(call: Call[None]) -> Answer:
    """End a monitor."""
    return _shown(call, call.here.monitors.end(call.path["monitor_id"], call.actor, call.entities))


def _shown(call: Call[Any], found: Monitor | None) -> Answer:
    return problem(nothing_of("monitor", call.path["monitor_id"])) if found is None else json_answer(_body(found))


def _body(one: Monitor) -> MonitorBody:
    condition = one.condition
    return MonitorBody(
        monitor_id=one.monitor_id,
        account_id=condition.account_id,
        measure=condition.measure.value,
        comparison=condition.comparison.value,
        threshold_minor=condition.threshold_minor,
        name=condition.name,
        is_met=one.is_met,
        created_by=one.created_by,
        created_at=rfc3339(one.created_at),
        ended_at=None if one.ended_at is None else rfc3339(one.ended_at),
    )
