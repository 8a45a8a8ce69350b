"""The operations that only read: reports, evidence, signed heads and the audit, described as those in `requests.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import (
    Page,
    as_object,
    as_text,
    getting,
    listing,
    listing_whole,
    query_of,
    reader,
)
from holdfast_client.requests import PaymentOrId, id_of


def trial_balance(
    *,
    entity_id: str | None = None,
    currency_code: str | None = None,
    as_of: datetime | None = None,
    by: models.TimeBasis | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Request[models.TrialBalance]:
    """The totals of all accounts, and one page of them; `after` takes `next` of the page before."""
    asked = query_of(entity_id=entity_id, currency_code=currency_code, as_of=as_of, by=by, after=after, limit=limit)
    return Request("GET", "/v1/reports/trial-balance", reader(models.TrialBalance), asked)


def balance_sheet(
    *,
    entity_id: str | None = None,
    currency_code: str | None = None,
    from_: datetime | None = None,
    as_of: datetime | None = None,
    by: models.TimeBasis | None = None,
) -> Request[models.BalanceSheets]:
    """The balance sheet of each currency; with `from_`, results of before stand apart."""
    period = {"from": from_, "as_of": as_of, "by": by}
    asked = query_of(entity_id=entity_id, currency_code=currency_code, **period)
    return Request("GET", "/v1/reports/balance-sheet", reader(models.BalanceSheets), asked)


def income_statement(
    *,
    entity_id: str | None = None,
    currency_code: str | None = None,
    from_: datetime | None = None,
    to: datetime | None = None,
    by: models.TimeBasis | None = None,
    limit: int | None = None,
) -> Request[models.IncomeStatements]:
    """The income statement of each currency."""
    period = {"from": from_, "to": to, "by": by}
    asked = query_of(entity_id=entity_id, currency_code=currency_code, **period, limit=limit)
    return Request("GET", "/v1/reports/income-statement", reader(models.IncomeStatements), asked)


def conflicts() -> Request[Page[models.Conflict]]:
    """The accounts whose postings were tried again, the busiest first."""
    return listing("/v1/reports/conflicts", models.Conflict)


def conflict_hours(*, from_: datetime | None = None, to: datetime | None = None) -> Request[Page[models.ConflictHour]]:
    """The same, by the hour."""
    return listing("/v1/reports/conflict-hours", models.ConflictHour, **{"from": from_, "to": to})


# Evidence, as it was sent: keep it, or have `tools/verify_evidence.py` check it


def get_evidence(payment: PaymentOrId, *, kept_size: int | None = None) -> Request[dict[str, Any]]:
    """The signed evidence of a payment. `kept_size`, of a head that you keep: prove that its chain is part of it."""
    return _evidence(path("/v1/payments/{payment_id}/evidence", payment_id=id_of(payment)), kept_size=kept_size)


def get_evidence_of_journal(journal_id: str, *, kept_size: int | None = None) -> Request[dict[str, Any]]:
    """The signed evidence of a journal or a reversal."""
    return _evidence(path("/v1/journals/{journal_id}/evidence", journal_id=journal_id), kept_size=kept_size)


def get_evidence_of_refund(refund_id: str, *, kept_size: int | None = None) -> Request[dict[str, Any]]:
    """The signed evidence of a refund."""
    return _evidence(path("/v1/refunds/{refund_id}/evidence", refund_id=refund_id), kept_size=kept_size)


def find_evidence(
    external_id: str, *, entity_id: str | None = None, kept_size: int | None = None
) -> Request[dict[str, Any]]:
    """The signed evidence of what was made with an external id."""
    return _evidence("/v1/evidence", external_id=external_id, entity_id=entity_id, kept_size=kept_size)


def _evidence(where: str, **query: Any) -> Request[dict[str, Any]]:
    return Request("GET", where, as_object, query_of(**query))


def list_heads() -> Request[Page[models.SignedHead]]:
    """The newest signed head of each chain: keep them, and history cannot be rewritten unnoticed."""
    return listing_whole("/v1/heads", models.SignedHead)


def head_consistency(partition: int, from_size: int, to_size: int) -> Request[models.Consistency]:
    """The proof that a chain of an older head is the beginning of that of a newer one."""
    return getting(
        "/v1/heads/consistency", models.Consistency, partition=partition, from_size=from_size, to_size=to_size
    )


# The audit. The filters are those of the route: actor, action, account_id, payment_id, request_id, status and more


def list_audit(
    *, from_: datetime | None = None, to: datetime | None = None, **filters: str | int
) -> Request[Page[models.AuditRecord]]:
    """The records of the audit, the oldest first."""
    return listing("/v1/audit", models.AuditRecord, **{"from": from_, "to": to}, **filters)


def export_audit(*, from_: datetime | None = None, to: datetime | None = None, **filters: str | int) -> Request[str]:
    """The same as CSV."""
    return Request("GET", "/v1/audit.csv", as_text, query_of(**{"from": from_, "to": to}, **filters))


def get_audit(audit_id: str) -> Request[models.AuditDetail]:
    """One record, with the request and the answer as far as they are kept."""
    return getting(path("/v1/audit/{audit_id}", audit_id=audit_id), models.AuditDetail)
