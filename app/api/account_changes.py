"""Account changes: make one, and list those on record."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from msgspec import UNSET, Meta, Struct, UnsetType

from app.api.accounts import LARGEST_METADATA, AccountBody, Name, account_response
from app.api.auth import actor, operation
from app.api.context import services
from app.api.requests import (
    Body,
    after_number,
    checked_metadata,
    expected_version,
    malformed,
    only_parameters,
    page_limit,
)
from app.api.responses import page_response, problem
from app.domain.account_changes import AccountChange, AccountPatch
from app.domain.account_refusals import account_not_found
from app.domain.accounts import AccountStatus
from app.domain.refusals import Refusal
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope

blueprint = Blueprint("account_changes", __name__)

NEEDS_REASON = ("overdraft_limit_minor", "status")

Status = Literal["open", "frozen_debits", "frozen_credits", "frozen", "closed"]
Reason = Annotated[str, Meta(min_length=1, max_length=1_000)]


class ChangeOfAccount(Struct, forbid_unknown_fields=True):
    """Changes to an account; fields that are left out stay. A new limit or status needs a `reason`.

    `overdraft_limit_minor`: minor units below zero; null is no floor. A limit below what is in use needs `force`.
    `metadata` is replaced as a whole. With `If-Match` and the ETag of the account, a change is refused with 412 if the
    account has been changed since; a repeat of a change that is in force is not.
    """

    overdraft_limit_minor: int | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    reason: Reason | None = None
    force: bool = False


class ChangeBody(Struct):
    """A recorded change: who, when, why, and the changed fields before and after."""

    change_id: int
    account_id: str
    changed_by: str
    changed_at: str
    reason: str | None
    forced: bool
    before: dict[str, Any]
    after: dict[str, Any]


_change_of_account = Body(ChangeOfAccount)


@blueprint.patch("/v1/accounts/<path:account_id>")
@operation(
    "Change an account's limit, status, name or metadata; in force for the very next payment",
    scope=Scope.ACCOUNTS_WRITE,
    body=ChangeOfAccount,
    answers={200: AccountBody},
    headers=("If-Match",),
)
def change_account(account_id: str) -> Response:
    """Change an account and record the change."""
    wanted = replace(_wanted(_change_of_account.read()), expected_version=expected_version(None))
    outcome = services().changes.change(account_id, wanted, actor())
    return problem(outcome) if isinstance(outcome, Refusal) else account_response(outcome)


def _wanted(body: ChangeOfAccount) -> AccountPatch:
    given = {
        "overdraft_limit_minor": body.overdraft_limit_minor,
        "status": body.status,
        "name": body.name,
        "metadata": body.metadata,
    }
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not UNSET}
    if not fields:
        raise malformed("Name what is to change: overdraft_limit_minor, status, name or metadata.")
    if body.reason is None and not fields.keys().isdisjoint(NEEDS_REASON):
        raise malformed("A change of the limit or the status needs a reason.", field="reason")
    if "status" in fields:
        fields["status"] = AccountStatus(fields["status"])
    if "metadata" in fields:
        fields["metadata"] = checked_metadata(fields["metadata"], LARGEST_METADATA)
    return AccountPatch(fields, body.reason, body.force)


@blueprint.get("/v1/accounts/<path:account_id>/changes")
@operation(
    "List an account's changes, oldest first: who, when, why, before and after",
    scope=Scope.READ,
    answers={200: ChangeBody},
    parameters=("limit", "after"),
)
def list_changes(account_id: str) -> Response:
    """One page of an account's changes."""
    only_parameters("limit", "after")
    limit, after = page_limit(), after_number()
    changes = services().changes.page(account_id, limit=limit, after=after)
    if not changes and services().accounts.get(account_id) is None:
        return problem(account_not_found(account_id))
    cursor = str(changes[-1].change_id) if changes else None
    return page_response([_change_body(change) for change in changes], limit, cursor)


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
