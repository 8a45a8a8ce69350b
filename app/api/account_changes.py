"""Account changes: make one, and list those on record."""

from dataclasses import replace
from typing import Any, ClassVar

from msgspec import UNSET, Struct, UnsetType

from app.api.accounts import AccountBody, account_answer
from app.api.fields import (
    LARGEST_METADATA,
    Count,
    Metadata,
    Moment,
    Name,
    OverdraftLimit,
    Reason,
    Rules,
    at_least_one,
    each_needs,
)
from app.api.json_body import RequestObject, checked_metadata, malformed
from app.api.parameters import AFTER_NUMBER, ETAG, IF_MATCH_ACCOUNT, LIMIT
from app.api.responses import Answer, page_answer, problem
from app.api.route_refusals import NO_ACCOUNT
from app.api.routes import Body, Call, Routes
from app.domain.account_changes import AccountChange, AccountPatch
from app.domain.account_refusals import account_not_found
from app.domain.accounts import AccountStatus
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

routes = Routes()

NEEDS_REASON = ("overdraft_limit_minor", "status")
CHANGEABLE = (*NEEDS_REASON, "name", "metadata")


class ChangeOfAccount(RequestObject):
    """Changes to an account; fields that are left out stay. A new limit or status needs a `reason`.

    `overdraft_limit_minor`: minor units below zero; null is no floor. A limit below what is in use needs `force`.
    `metadata` is replaced as a whole. With `If-Match` and the ETag of the account, a change is refused with 412 if the
    account has been changed since; a repeat of a change that is in force is not.
    """

    rules: ClassVar[Rules] = {**at_least_one(CHANGEABLE), **each_needs(NEEDS_REASON, "reason", "string")}

    overdraft_limit_minor: OverdraftLimit | UnsetType | None = UNSET
    status: AccountStatus | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    reason: Reason | None = None
    force: bool = False


class ChangeBody(Struct):
    """A recorded change: who, when, why, and the changed fields before and after."""

    change_id: Count
    account_id: str
    changed_by: str
    changed_at: Moment
    reason: str | None
    forced: bool
    before: dict[str, Any]
    after: dict[str, Any]


@routes.add(
    "PATCH",
    "/v1/accounts/{account_id}",
    "Change an account's limit, status, name or metadata; in force for the very next payment",
    scope=Scope.ACCOUNTS_WRITE,
    body=Body(ChangeOfAccount),
    answers={200: AccountBody},
    headers=(IF_MATCH_ACCOUNT,),
    sends=(ETAG,),
    refuses=NO_ACCOUNT
    | {
        Code.ACCOUNT_CLOSED,
        Code.AMOUNT_NOT_INTEGER,
        Code.AMOUNT_OUT_OF_RANGE,
        Code.PRECONDITION_FAILED,
        Code.LIMIT_BELOW_USE,
        Code.ACCOUNT_NOT_EMPTY,
    },
)
def change_account(call: Call[ChangeOfAccount]) -> Answer:
    """Change an account and record the change."""
    account_id = call.path["account_id"]
    wanted = replace(_wanted(call.body), expected_version=call[IF_MATCH_ACCOUNT])
    outcome = call.here.changes.change(account_id, wanted, call.actor)
    return problem(outcome) if isinstance(outcome, Refusal) else account_answer(outcome)


def _wanted(body: ChangeOfAccount) -> AccountPatch:
    given = {name: getattr(body, name) for name in CHANGEABLE}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not UNSET}
    if not fields:
        raise malformed(f"Name what is to change: {', '.join(CHANGEABLE[:-1])} or {CHANGEABLE[-1]}.")
    if body.reason is None and not fields.keys().isdisjoint(NEEDS_REASON):
        raise malformed("A change of the limit or the status needs a reason.", field="reason")
    if "metadata" in fields:
        fields["metadata"] = checked_metadata(fields["metadata"], LARGEST_METADATA)
    return AccountPatch(fields, body.reason, body.force)


@routes.add(
    "GET",
    "/v1/accounts/{account_id}/changes",
    "List an account's changes, oldest first: who, when, why, before and after",
    scope=Scope.ACCOUNTS_READ,
    answers={200: ChangeBody},
    parameters=(LIMIT, AFTER_NUMBER),
    paged=True,
    refuses=NO_ACCOUNT,
)
def list_changes(call: Call[None]) -> Answer:
    """One page of an account's changes."""
    account_id = call.path["account_id"]
    limit, after = call[LIMIT], call[AFTER_NUMBER]
    changes = call.here.changes.page(account_id, limit=limit, after=after)
    if not changes and call.here.accounts.get(account_id) is None:
        return problem(account_not_found(account_id))
    cursor = str(changes[-1].change_id) if changes else None
    return page_answer([_change_body(change) for change in changes], limit, cursor)


def _change_body(change: AccountChange) -> ChangeBody:
    return ChangeBody(
        change_id=change.change_id,
        account_id=change.account_id,
        changed_by=change.actor,
        changed_at=rfc3339(change.recorded_at),
        reason=change.reason,
        forced=change.forced,
        before=dict(change.before),
        after=dict(change.after),
    )
