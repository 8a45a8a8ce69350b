"""Matches: read them, make one by hand, confirm, undo, split, and post what the sides differ by."""

from datetime import date
from typing import Annotated, Any

from msgspec import Meta

from app.api.fields import NUMBER, Id, Reason, number_of
from app.api.json_body import RequestObject, malformed
from app.api.match_views import STATES, MatchBody, UnmatchedBody, match_body, unmatched_body
from app.api.parameters import AFTER_NUMBER, LIMIT
from app.api.patterns import matching
from app.api.responses import Answer, Refused, json_answer, page_answer, problem
from app.api.route_refusals import MOVEMENT
from app.api.routes import Body, Call, Parameter, Routes
from app.api.statement_accounts import day_of, statement_account_of
from app.domain.match_records import MatchRecord, MatchState, NewMatch
from app.domain.match_refusals import match_not_found
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.services.access.api_keys import Scope

routes = Routes()

MOST_PARTS = 1_000
"""Lines or entries of a match that somebody makes by hand."""

LineIds = Annotated[list[Annotated[str, matching(NUMBER)]], Meta(max_length=MOST_PARTS)]
EntryNumbers = Annotated[list[Annotated[int, Meta(ge=1, le=2**63 - 1)]], Meta(max_length=MOST_PARTS)]

_DECISIONS = frozenset({Code.NOT_FOUND, Code.MATCH_CONFLICT, Code.PERIOD_SIGNED_OFF})
_WITH_JOURNAL = MOVEMENT | {Code.JOURNAL_UNBALANCED, Code.ACCOUNTS_EQUAL, Code.APPROVAL_NEEDED}


def _state(text: str) -> MatchState:
    if text not in STATES:
        raise malformed(f"state must be one of {', '.join(STATES)}.", field="state")
    return MatchState(text)


def _day(name: str) -> Parameter[date | None]:
    return Parameter(name, lambda text: day_of(text, name), None, {"type": "string", "format": "date"})


STATE: Parameter[MatchState | None] = Parameter("state", _state, None, {"type": "string", "enum": STATES})
FIRST_ON, LAST_ON, THROUGH = _day("first_on"), _day("last_on"), _day("through")


class NewMatchBody(RequestObject):
    """Lines and entries that are the same movement; both sides add up to the same.

    `journal_account_id`: what they differ by is posted as a journal between this account and the account of the bank.
    `accepts_difference`: it stays.
    """

    line_ids: LineIds
    entry_numbers: EntryNumbers
    reason: Reason
    journal_account_id: Id | None = None
    accepts_difference: bool = False


class MatchDecision(RequestObject):
    """Why a match is confirmed or undone; it is kept."""

    reason: Reason


class MatchPart(RequestObject):
    """The lines and entries that stay together."""

    line_ids: LineIds
    entry_numbers: EntryNumbers
    reason: Reason


class MatchJournal(RequestObject):
    """The account that takes what the sides of a match differ by."""

    journal_account_id: Id
    reason: Reason


@routes.add(
    "GET",
    "/v1/statement-accounts/{statement_account_id}/matches",
    "List matches and suggestions in the order in which they were made; days are those of `settled_on`",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: MatchBody},
    parameters=(LIMIT, AFTER_NUMBER, STATE, FIRST_ON, LAST_ON),
    refuses=frozenset({Code.NOT_FOUND}),
    paged=True,
)
def list_matches(call: Call[None]) -> Answer:
    """One page of matches."""
    account = statement_account_of(call)
    limit = call[LIMIT]
    found = call.here.match_decisions.reads.matches(
        account.statement_account_id,
        state=call[STATE],
        first_on=call[FIRST_ON],
        last_on=call[LAST_ON],
        limit=limit,
        after=call[AFTER_NUMBER],
    )
    return page_answer([match_body(one) for one in found], limit, str(found[-1].match_id) if found else None)


@routes.add(
    "GET",
    "/v1/statement-accounts/{statement_account_id}/unmatched",
    "List the lines and entries without a match, with suggested reasons; `through` a day",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: UnmatchedBody},
    parameters=(LIMIT, AFTER_NUMBER, THROUGH),
    refuses=frozenset({Code.NOT_FOUND}),
    paged=True,
)
def list_unmatched(call: Call[None]) -> Answer:
    """One page of what has no match."""
    account = statement_account_of(call)
    limit, after = call[LIMIT], call[AFTER_NUMBER]
    reads = call.here.match_decisions.reads
    found = reads.unmatched(account.statement_account_id, through=call[THROUGH], limit=limit, after=after)
    cursor = str(found[-1].unmatched_item_id) if found else None
    return page_answer([unmatched_body(one) for one in found], limit, cursor)


@routes.add(
    "POST",
    "/v1/statement-accounts/{statement_account_id}/matches",
    "Match lines and entries by hand, with a reason, and post what they differ by if asked to",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(NewMatchBody),
    answers={201: MatchBody},
    refuses=_DECISIONS | _WITH_JOURNAL | {Code.MATCH_DIFFERS},
)
def make_match(call: Call[NewMatchBody]) -> Answer:
    """A match by hand."""
    account = statement_account_of(call)
    body = call.body
    wanted = NewMatch(account.statement_account_id, _line_ids(body.line_ids), body.entry_numbers, body.reason)
    outcome = call.here.match_decisions.match(
        wanted,
        call.actor,
        journal_account_id=body.journal_account_id or "",
        accepts_difference=body.accepts_difference,
    )
    return _answer(outcome, 201)


@routes.add(
    "GET",
    "/v1/matches/{match_id}",
    "Read a match with its lines and entries",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: MatchBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_match(call: Call[None]) -> Answer:
    """One match."""
    found = call.here.match_decisions.reads.match(_match_id(call))
    return problem(match_not_found(call.path["match_id"])) if found is None else json_answer(match_body(found))


@routes.add(
    "POST",
    "/v1/matches/{match_id}/confirm",
    "Make a match of a suggestion",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(MatchDecision),
    answers={200: MatchBody},
    refuses=_DECISIONS,
)
def confirm_match(call: Call[MatchDecision]) -> Answer:
    """A decision on a suggestion."""
    return _answer(call.here.match_decisions.confirm(_match_id(call), call.body.reason, call.actor))


@routes.add(
    "POST",
    "/v1/matches/{match_id}/undo",
    "Undo a match or a suggestion; the rules do not bring the same together again",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(MatchDecision),
    answers={200: MatchBody},
    refuses=_DECISIONS,
)
def undo_match(call: Call[MatchDecision]) -> Answer:
    """A decision against a match."""
    return _answer(call.here.match_decisions.undo(_match_id(call), call.body.reason, call.actor))


@routes.add(
    "POST",
    "/v1/matches/{match_id}/split",
    "Keep a part of a match as a match of its own; the rest is open again",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(MatchPart),
    answers={200: MatchBody},
    refuses=_DECISIONS | {Code.MATCH_DIFFERS},
)
def split_match(call: Call[MatchPart]) -> Answer:
    """A part of a match."""
    body = call.body
    lines, entries = _line_ids(body.line_ids), body.entry_numbers
    return _answer(call.here.match_decisions.split(_match_id(call), lines, entries, body.reason, call.actor))


@routes.add(
    "POST",
    "/v1/matches/{match_id}/journal",
    "Post what the sides of a match differ by, such as a fee; the match with the journal takes its place",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(MatchJournal),
    answers={200: MatchBody},
    refuses=_DECISIONS | _WITH_JOURNAL | {Code.MATCH_DIFFERS},
)
def post_match_difference(call: Call[MatchJournal]) -> Answer:
    """The journal that a match implies."""
    body = call.body
    decisions = call.here.match_decisions
    return _answer(decisions.post_difference(_match_id(call), body.journal_account_id, body.reason, call.actor))


def _match_id(call: Call[Any]) -> int:
    number = number_of(call.path["match_id"])
    if number is None:
        raise Refused(match_not_found(call.path["match_id"]))
    return number


def _line_ids(texts: list[str]) -> list[int]:
    numbers = [number_of(one) for one in texts]
    if None in numbers:
        raise malformed("line_ids must be ids of statement lines.", field="line_ids")
    return [one for one in numbers if one is not None]


def _answer(outcome: MatchRecord | Refusal, status: int = 200) -> Answer:
    return problem(outcome) if isinstance(outcome, Refusal) else json_answer(match_body(outcome), status)
