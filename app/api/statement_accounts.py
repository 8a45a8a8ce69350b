"""Statement accounts: which account of the ledger an account of a bank is, and runs of the rules over it."""

from datetime import date
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from app.api.fields import Count, CurrencyCode, Id, Moment, SourceName, number_of
from app.api.json_body import NO_NUL, RequestObject, malformed
from app.api.matching_rules import MatchingRuleBody, MatchingRules, asked_rules, rule_body
from app.api.patterns import matching
from app.api.responses import Answer, Refused, json_answer, problem
from app.api.route_refusals import NO_ACCOUNT
from app.api.routes import Body, Call, Routes
from app.domain.match_records import RunReport, StatementAccount
from app.domain.match_refusals import statement_account_not_found
from app.domain.matching_rules import InvalidRules, read_rules
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

Day = Annotated[str, matching("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A day, e.g. 2026-01-31")]


class NewStatementAccount(RequestObject):
    """Which account of the ledger the account of a source is.

    Matching begins with `starts_on`, without it with the first day of the statements. `rules` are tried in order after
    the reference; without them, the same amount within 3 days is suggested.
    """

    source_name: SourceName
    account_ref: Annotated[str, Meta(extra_json_schema={"pattern": NO_NUL})]
    currency_code: CurrencyCode
    account_id: Id
    starts_on: Day | None = None
    rule_list: MatchingRules | None = field(default=None, name="rules")


class StatementAccountBody(Struct):
    """A statement account with the setup in force. Each change makes a new version; matches name theirs.

    `signed_through` is the last day that is signed off.
    """

    statement_account_id: str
    source_name: str
    account_ref: str
    currency_code: str
    account_id: str
    version: int
    starts_on: str
    rule_list: list[MatchingRuleBody] = field(name="rules")
    signed_through: str | None
    created_by: str
    created_at: Moment


class NewMatchRun(RequestObject):
    """A run of the saved rules; or a trial of other `rules` on everything that was stated, which stores nothing."""

    rule_list: MatchingRules | None = field(default=None, name="rules")


class MatchRunBody(Struct):
    """What a run has done; a trial has no id.

    `agreeing` are matches of a trial that stand already; `examples` are some of its matches.
    """

    match_run_id: str | None
    line_count: Count
    entry_count: Count
    matched: Count
    suggested: Count
    by_rule: dict[str, int]
    new_unmatched: Count
    settled_unmatched: Count
    unmatched: dict[str, int]
    agreeing: Count
    examples: list[dict[str, Any]]


@routes.add(
    "POST",
    "/v1/statement-accounts",
    "Say which account of the ledger a statement's account is, and save its rules; the same again answers 200",
    scope=Scope.ACCOUNTS_WRITE,
    of_installation=True,
    body=Body(NewStatementAccount),
    answers={201: StatementAccountBody, 200: StatementAccountBody},
    refuses=NO_ACCOUNT | {Code.NOT_FOUND, Code.CURRENCY_MISMATCH, Code.MATCH_CONFLICT},
)
def save_statement_account(call: Call[NewStatementAccount]) -> Answer:
    """Save a setup, once for each content."""
    body = call.body
    try:
        outcome = call.here.matching.save(
            body.source_name,
            body.account_ref,
            body.currency_code,
            body.account_id,
            call.actor,
            starts_on=day_of(body.starts_on, "starts_on"),
            rules=asked_rules(body.rule_list),
        )
    except InvalidRules as error:
        raise malformed(f"{error}.", field="rules") from None
    if isinstance(outcome, Refusal):
        return problem(outcome)
    account, is_new = outcome
    return json_answer(_body(account), 201 if is_new else 200)


@routes.add(
    "GET",
    "/v1/statement-accounts",
    "List the statement accounts, by source",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementAccountBody},
    paged=True,
)
def list_statement_accounts(call: Call[None]) -> Answer:
    """All of them: an installation has a few."""
    return json_answer({"data": [_body(one) for one in call.here.matching.accounts.all()], "next": None})


@routes.add(
    "GET",
    "/v1/statement-accounts/{statement_account_id}",
    "Read one statement account",
    scope=Scope.REPORTS_READ,
    of_installation=True,
    answers={200: StatementAccountBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def get_statement_account(call: Call[None]) -> Answer:
    """One of them."""
    return json_answer(_body(statement_account_of(call)))


@routes.add(
    "POST",
    "/v1/statement-accounts/{statement_account_id}/match-runs",
    "Match what is open by the saved rules; with rules in the body, try those and store nothing",
    scope=Scope.JOURNALS_WRITE,
    of_installation=True,
    body=Body(NewMatchRun, optional=True),
    answers={201: MatchRunBody, 200: MatchRunBody},
    refuses=frozenset({Code.NOT_FOUND}),
)
def run_matching(call: Call[NewMatchRun]) -> Answer:
    """A run, or a trial."""
    account = statement_account_of(call)
    try:
        asked = asked_rules(call.body.rule_list)
        trial_rules = None if asked is None else read_rules(asked)
    except InvalidRules as error:
        raise malformed(f"{error}.", field="rules") from None
    report = call.here.matching.run(account, call.actor, trial_rules=trial_rules)
    return json_answer(_run_body(report), 201 if report.match_run_id else 200)


def statement_account_of(call: Call[Any]) -> StatementAccount:
    """The account that a path names; Refused if there is none."""
    number = number_of(call.path["statement_account_id"])
    found = None if number is None else call.here.matching.accounts.get(number)
    if found is None:
        raise Refused(statement_account_not_found(call.path["statement_account_id"]))
    return found


def day_of(text: str | None, name: str) -> date | None:
    """A day of a body."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise malformed(f"{name} is not a day of the calendar.", field=name) from None


def _body(one: StatementAccount) -> StatementAccountBody:
    return StatementAccountBody(
        str(one.statement_account_id),
        one.source_name,
        one.account_ref,
        one.currency_code,
        one.account_id,
        one.version,
        one.starts_on.isoformat(),
        [rule_body(rule) for rule in one.rules()],
        None if one.signed_through is None else one.signed_through.isoformat(),
        one.created_by,
        rfc3339(one.created_at),
    )


def _run_body(report: RunReport) -> MatchRunBody:
    return MatchRunBody(
        None if report.match_run_id is None else str(report.match_run_id),
        report.line_count,
        report.entry_count,
        report.matched,
        report.suggested,
        report.by_rule,
        report.new_breaks,
        report.resolved_breaks,
        report.open_breaks,
        report.agreeing,
        [dict(one) for one in report.examples],
    )
