"""Breaks: list them, read one with its history, and work on it."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, ClassVar, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.fields import Moment, Reason, Rules, Total, at_least_one, number_of, one_of
from app.api.json_body import NO_NUL, RequestObject, malformed
from app.api.parameters import AFTER_NUMBER, ENTITY, LIMIT, any_text, in_utc
from app.api.reconciliation import ProofRequestBody, request_body
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.routes import Body, Call, Parameter, Routes
from app.domain.break_workflow import (
    BreakChange,
    BreakEvent,
    BreakFilter,
    BreakRecord,
    BreakState,
    EventAction,
    ReasonCode,
    break_not_found,
    reasons_of,
)
from app.domain.found_breaks import BreakSource, EvidenceKind
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from app.services.proofs.breaks import BreakHistory

routes = Routes()

Word = TypeVar("Word", bound=StrEnum)

_STATES = [one.value for one in BreakState]
_SOURCES = [one.value for one in BreakSource]
_REASONS = [one.value for one in ReasonCode]
_GIVEN_REASONS = sorted({one.value for source in BreakSource for one in reasons_of(source)})
_TEXT = {"type": "string", "pattern": NO_NUL}
LONGEST_OWNER = 64


def _word(name: str, kind: type[Word]) -> Callable[[str], Word]:
    def read(text: str) -> Word:
        try:
            return kind(text)
        except ValueError:
            raise malformed(f"{name} must be one of {', '.join(kind)}.", field=name) from None

    return read


def _true(text: str) -> bool:
    if text not in ("true", "false"):
        raise malformed("overdue must be true or false.", field="overdue")
    return text == "true"


STATE: Parameter[BreakState | None] = Parameter(
    "state", _word("state", BreakState), None, {"type": "string", "enum": _STATES}, "Without it, breaks in any state."
)
SOURCE: Parameter[BreakSource | None] = Parameter(
    "source", _word("source", BreakSource), None, {"type": "string", "enum": _SOURCES}, "Inside or outside."
)
KIND: Parameter[str | None] = Parameter("kind", any_text, None, _TEXT, "The kind, such as `cache_balance`.")
ACCOUNT: Parameter[str | None] = Parameter("account_id", any_text, None, _TEXT, "The account that they are about.")
OWNER: Parameter[str | None] = Parameter("owner", any_text, None, _TEXT, "Who looks after them; empty is nobody.")
OVERDUE: Parameter[bool] = Parameter(
    "overdue", _true, False, {"type": "boolean"}, "Only those that should have been settled by now."
)


class BreakEvidenceBody(Struct):
    """One thing that proves or explains a break: an account, an entry (`account#number`), a payment and so on."""

    kind: Annotated[str, one_of([one.value for one in EvidenceKind])]
    id: str


class BreakBody(Struct):
    """One break. Amounts are in minor units, null where a side says nothing; the difference is the other side less the
    ledger. Of the ledger with itself, the ledger's side is what its entries say.

    `figures` are those of its kind. The runs are null for a break from outside.
    """

    break_id: str
    source: Annotated[str, one_of(_SOURCES)]
    kind: str
    subject: str
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    ledger_minor: Total | None
    other_minor: Total | None
    difference_minor: Total | None
    figures: dict[str, Any]
    evidence: list[BreakEvidenceBody]
    state: Annotated[str, one_of(_STATES)]
    owner: str | None
    reason_code: Annotated[str, one_of(_REASONS)] | None
    due_at: Moment | None
    overdue: bool
    repairable: bool
    first_run_id: str | None
    last_run_id: str | None
    first_seen_at: Moment
    last_seen_at: Moment
    settled_at: Moment | None


class BreakEventBody(Struct):
    """One event of a break's history, with owner, reason and due date as they were after it.

    `action` is null in events from before these were kept, which tell the state only.
    """

    event_id: str
    actor: str
    action: Annotated[str, one_of([one.value for one in EventAction])] | None
    state: Annotated[str, one_of(_STATES)]
    owner: str | None
    reason_code: Annotated[str, one_of(_REASONS)] | None
    due_at: Moment | None
    comment: str
    recorded_at: Moment


class BreakDetail(BreakBody):
    """A break with its history, oldest first, and the repairs that were asked for it."""

    history: list[BreakEventBody]
    repairs: list[ProofRequestBody]


class ChangeOfBreak(RequestObject):
    """Changes to a break; fields that are left out stay. A comment may come alone.

    `owner` is a user who may work on breaks, null for nobody. To settle a break as resolved or accepted takes a
    `reason_code`, now or before, and a comment. A settled break takes comments only.
    """

    rules: ClassVar[Rules] = at_least_one(("state", "owner", "reason_code", "due_at", "comment"))

    state: Annotated[str, one_of(_STATES)] | UnsetType = UNSET
    owner: Annotated[str, Meta(max_length=LONGEST_OWNER, extra_json_schema={"pattern": NO_NUL})] | UnsetType | None = (
        UNSET
    )
    reason_code: Annotated[str, one_of(_GIVEN_REASONS)] | UnsetType | None = UNSET
    due_at: Moment | UnsetType = UNSET
    comment: Reason | UnsetType = UNSET


@routes.add(
    "GET",
    "/v1/breaks",
    "List breaks in the order in which they were found",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: BreakBody},
    parameters=(LIMIT, AFTER_NUMBER, STATE, SOURCE, KIND, ACCOUNT, OWNER, OVERDUE, ENTITY),
    paged=True,
)
def list_breaks(call: Call[None]) -> Answer:
    """One page of breaks."""
    limit, state = call[LIMIT], call[STATE]
    wanted = BreakFilter(
        source=call[SOURCE],
        states=None if state is None else [state],
        kind=call[KIND],
        account_id=call[ACCOUNT],
        entity_id=call[ENTITY],
        owner=call[OWNER],
        overdue_at=call.here.now() if call[OVERDUE] else None,
    )
    found = call.here.breaks.page(wanted, limit=limit, after=call[AFTER_NUMBER])
    cursor = str(found[-1].break_id) if found else None
    return page_answer([BreakBody(**_members(call, one)) for one in found], limit, cursor)


@routes.add(
    "GET",
    "/v1/breaks/{break_id}",
    "Read a break with its history and its repairs",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: BreakDetail},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_break(call: Call[None]) -> Answer:
    """One break."""
    found = call.here.breaks.get(break_id_of(call))
    return problem(break_not_found(call.path["break_id"])) if found is None else _detail(call, found)


@routes.add(
    "PATCH",
    "/v1/breaks/{break_id}",
    "Work on a break: owner, reason, due date, state, or a comment alone; each change is kept in its history",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(ChangeOfBreak),
    answers={200: BreakDetail},
    refuses=frozenset({Code.NOT_FOUND, Code.BREAK_INCOMPLETE, Code.BREAK_SETTLED}),
)
def change_break(call: Call[ChangeOfBreak]) -> Answer:
    """Change a break and record the change."""
    outcome = call.here.breaks.change(break_id_of(call), _wanted(call.body), call.actor)
    return problem(outcome) if isinstance(outcome, Refusal) else _detail(call, outcome)


def break_id_of(call: Call[Any]) -> int:
    """The break that a path names; Refused if it cannot be one."""
    number = number_of(call.path["break_id"])
    if number is None:
        raise Refused(break_not_found(call.path["break_id"]))
    return number


def _wanted(body: ChangeOfBreak) -> BreakChange:
    given = {name: getattr(body, name) for name in ("state", "owner", "reason_code", "due_at")}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not UNSET}
    if "state" in fields:
        fields["state"] = _word("state", BreakState)(fields["state"])
    if "due_at" in fields:
        fields["due_at"] = in_utc(fields["due_at"], "due_at")
    comment = "" if body.comment is UNSET else body.comment
    if not fields and not comment:
        raise malformed("Name what is to change: state, owner, reason_code, due_at or comment.")
    return BreakChange(fields, comment)


def _members(call: Call[Any], one: BreakRecord) -> dict[str, Any]:
    moments = {name: getattr(one, name) for name in ("due_at", "first_seen_at", "last_seen_at", "settled_at")}
    runs = {name: getattr(one, name) for name in ("first_run_id", "last_run_id")}
    same = ("kind", "subject", "account_id", "entity_id", "currency_code", "ledger_minor", "other_minor", "owner")
    return {
        "break_id": str(one.break_id),
        "source": one.source.value,
        "difference_minor": one.difference_minor,
        "figures": dict(one.figures),
        "evidence": [BreakEvidenceBody(link.kind.value, link.id) for link in one.evidence],
        "state": one.state.value,
        "reason_code": one.reason_code,
        "overdue": one.is_overdue(call.here.now()),
        "repairable": one.is_repairable,
        **{name: getattr(one, name) for name in same},
        **{name: None if run_id is None else str(run_id) for name, run_id in runs.items()},
        **{name: None if moment is None else rfc3339(moment) for name, moment in moments.items()},
    }


def _detail(call: Call[Any], found: BreakHistory) -> Answer:
    repairs = call.here.proof_requests.of_break(found.record.break_id)
    return json_answer(
        BreakDetail(
            **_members(call, found.record),
            history=[_event(event) for event in found.events],
            repairs=[request_body(one) for one in repairs],
        )
    )


def _event(event: BreakEvent) -> BreakEventBody:
    return BreakEventBody(
        event_id=str(event.event_id),
        actor=event.actor,
        action=event.action,
        state=event.state,
        owner=event.owner,
        reason_code=event.reason_code,
        due_at=None if event.due_at is None else rfc3339(event.due_at),
        comment=event.note,
        recorded_at=rfc3339(event.recorded_at),
    )
