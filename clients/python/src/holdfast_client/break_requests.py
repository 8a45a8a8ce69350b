"""The operations on breaks and on reconciliation, described as those in `requests.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import UNSET, Page, Unset, assigned, getting, given, listing, listing_whole, posting


def list_breaks(
    *,
    state: Literal["open", "investigating", "resolved", "accepted"] | None = None,
    source: Literal["inside", "outside"] | None = None,
    kind: str | None = None,
    account_id: str | None = None,
    owner: str | None = None,
    overdue: bool | None = None,
    entity_id: str | None = None,
) -> Request[Page[models.Break]]:
    """Differences that were found, in any state without `state`; `owner` "" is nobody."""
    return listing(
        "/v1/breaks",
        models.Break,
        state=state,
        source=source,
        kind=kind,
        account_id=account_id,
        owner=owner,
        overdue=overdue,
        entity_id=entity_id,
    )


def get_break(break_id: str) -> Request[models.BreakDetail]:
    """A break with its history."""
    return getting(path("/v1/breaks/{break_id}", break_id=break_id), models.BreakDetail)


def change_break(
    break_id: str,
    *,
    comment: str | None = None,
    state: Literal["open", "investigating", "resolved", "accepted"] | None = None,
    reason_code: str | None = None,
    owner: str | Unset | None = UNSET,
    due_at: datetime | None = None,
) -> Request[models.BreakDetail]:
    """Comment on a break, give it an owner (None: nobody) or a date, or settle it. Not repeated with a comment."""
    body = given(comment=comment, state=state, reason_code=reason_code, due_at=due_at) | assigned(owner=owner)
    where = path("/v1/breaks/{break_id}", break_id=break_id)
    return posting(where, body, models.BreakDetail, method="PATCH", repeatable=comment is None)


def preview_repair(break_id: str) -> Request[models.RepairPreview]:
    """What a repair would change in the cache."""
    return getting(path("/v1/breaks/{break_id}/repair", break_id=break_id), models.RepairPreview)


def repair_break(break_id: str, reason: str, token: str) -> Request[models.ProofRequest]:
    """Ask for the repair whose preview has this `token`."""
    where = path("/v1/breaks/{break_id}/repair", break_id=break_id)
    return posting(where, given(reason=reason, token=token), models.ProofRequest, repeatable=False)


def break_ageing(*, entity_id: str | None = None) -> Request[Page[models.Ageing]]:
    """Open breaks by account and age."""
    return listing_whole("/v1/reports/break-ageing", models.Ageing, entity_id=entity_id)


def reconcile(mode: Literal["incremental", "full"] = "incremental") -> Request[models.ProofRequest]:
    """Ask for a run; `get_reconciliation_request` tells what has come of it."""
    return posting("/v1/reconciliation-runs", given(mode=mode), models.ProofRequest, repeatable=False)


def get_reconciliation_request(request_id: str) -> Request[models.ProofRequest]:
    """What has come of a run or a repair that was asked for."""
    return getting(path("/v1/reconciliation-requests/{request_id}", request_id=request_id), models.ProofRequest)


def list_reconciliation_runs() -> Request[Page[models.Run]]:
    """The runs, the latest first."""
    return listing("/v1/reconciliation-runs", models.Run)


def get_reconciliation_run(run_id: str) -> Request[models.Run]:
    """One run."""
    return getting(path("/v1/reconciliation-runs/{run_id}", run_id=run_id), models.Run)
