"""Every operation of the API as a description: what to ask and what the answer is.

The clients turn each function here into a method of their own. A parameter that is None is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from holdfast_client import models
from holdfast_client.codec import plain, read
from holdfast_client.exchange import Answer, Request, path
from holdfast_client.ids import new_external_id
from holdfast_client.request_parts import (
    JSON,
    UNSET,
    Page,
    Unset,
    as_anything,
    as_text,
    assigned,
    encoded,
    getting,
    given,
    listing,
    listing_whole,
    posting,
    query_of,
)

# Accounts


def create_account(
    account_id: str,
    type: models.AccountType,
    currency_code: str,
    *,
    entity_id: str | None = None,
    name: str | None = None,
    overdraft_limit_minor: int | Unset | None = UNSET,
    metadata: Mapping[str, Any] | None = None,
) -> Request[models.Account]:
    """Create an account; the same again answers it. `overdraft_limit_minor` None is no floor."""
    body = given(
        account_id=account_id, type=type, currency_code=currency_code, entity_id=entity_id, name=name, metadata=metadata
    )
    body |= assigned(overdraft_limit_minor=overdraft_limit_minor)
    return posting("/v1/accounts", body, models.Account)


def get_account(account_id: str) -> Request[models.Account]:
    """Read an account."""
    return getting(path("/v1/accounts/{account_id}", account_id=account_id), models.Account)


def list_accounts(*, entity_id: str | None = None, currency_code: str | None = None) -> Request[Page[models.Account]]:
    """All accounts."""
    return listing("/v1/accounts", models.Account, entity_id=entity_id, currency_code=currency_code)


def change_account(
    account_id: str,
    *,
    reason: str | None = None,
    status: models.AccountStatus | Unset = UNSET,
    overdraft_limit_minor: int | Unset | None = UNSET,
    name: str | Unset | None = UNSET,
    metadata: Mapping[str, Any] | Unset | None = UNSET,
    force: bool = False,
) -> Request[models.Account]:
    """Change an account; in force for the very next payment. A new limit or status needs a reason."""
    body = assigned(status=status, overdraft_limit_minor=overdraft_limit_minor, name=name, metadata=metadata)
    body |= given(reason=reason, force=force or None)
    return posting(path("/v1/accounts/{account_id}", account_id=account_id), body, models.Account, method="PATCH")


def get_balance(account_id: str) -> Request[models.Balance]:
    """The balance of an account, what of it is held, and what is available."""
    return getting(path("/v1/accounts/{account_id}/balance", account_id=account_id), models.Balance)


def get_balance_at(account_id: str, at: datetime, *, by: models.TimeBasis | None = None) -> Request[models.BalanceAt]:
    """The balance in the ledger at an instant."""
    return getting(path("/v1/accounts/{account_id}/balance", account_id=account_id), models.BalanceAt, at=at, by=by)


def list_entries(account_id: str) -> Request[Page[models.Entry]]:
    """The entries of an account, the oldest first."""
    return listing(path("/v1/accounts/{account_id}/entries", account_id=account_id), models.Entry)


def list_changes(account_id: str) -> Request[Page[models.AccountChange]]:
    """The changes of an account: who, when, why, before and after."""
    return listing(path("/v1/accounts/{account_id}/changes", account_id=account_id), models.AccountChange)


def register_asset(currency_code: str, minor_units: int, name: str) -> Request[models.Asset]:
    """Register an asset of your own, such as points; the same again answers it."""
    return posting("/v1/assets", given(currency_code=currency_code, minor_units=minor_units, name=name), models.Asset)


def get_asset(currency_code: str) -> Request[models.Asset]:
    """An asset, or a currency of ISO 4217."""
    return getting(path("/v1/assets/{currency_code}", currency_code=currency_code), models.Asset)


def list_assets() -> Request[Page[models.Asset]]:
    """The registered assets."""
    return listing("/v1/assets", models.Asset)


# Payments


def pay(
    source_account_id: str,
    destination_account_id: str | Sequence[models.SplitPart],
    amount_minor: int,
    currency_code: str,
    *,
    external_id: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    effective_at: datetime | None = None,
    expected_version: int | None = None,
    wait_s: float | None = None,
) -> Request[models.AcknowledgedPayment]:
    """Move money at once; with `wait_s`, answer when it is in the ledger. Several destinations split it."""
    wanted = _payment(
        source_account_id, destination_account_id, amount_minor, currency_code, external_id, description, metadata
    )
    return _submitted(wanted | given(effective_at=effective_at, expected_version=expected_version), wait_s)


def authorize(
    source_account_id: str,
    destination_account_id: str | Sequence[models.SplitPart],
    amount_minor: int,
    currency_code: str,
    *,
    external_id: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    expires_in_s: int | None = None,
) -> Request[models.AcknowledgedPayment]:
    """Hold the money until it is captured, voided, or `expires_in_s` seconds have passed."""
    wanted = _payment(
        source_account_id, destination_account_id, amount_minor, currency_code, external_id, description, metadata
    )
    return _submitted(wanted | given(capture="manual", expires_in_s=expires_in_s), None)


def capture(
    payment: PaymentOrId, amount_minor: int | None = None, *, wait_s: float | None = None
) -> Request[models.Payment]:
    """Take what was authorized, all or part, once; the rest is released."""
    where = path("/v1/payments/{payment_id}/capture", payment_id=id_of(payment))
    return posting(where, given(amount_minor=amount_minor), models.Payment, wait_s=wait_s)


def void(payment: PaymentOrId, *, wait_s: float | None = None) -> Request[models.Payment]:
    """Release what was authorized."""
    return posting(path("/v1/payments/{payment_id}/void", payment_id=id_of(payment)), {}, models.Payment, wait_s=wait_s)


def refund(
    payment: PaymentOrId, amount_minor: int | None = None, *, external_id: str | None = None, reason: str | None = None
) -> Request[models.Refund]:
    """Give a payment back, all that remains of it or a part."""
    where = path("/v1/payments/{payment_id}/refunds", payment_id=id_of(payment))
    body = given(external_id=external_id or new_external_id(), amount_minor=amount_minor, reason=reason)
    return posting(where, body, models.Refund)


def get_payment(payment: PaymentOrId) -> Request[models.Payment]:
    """A payment as it stands now."""
    return getting(path("/v1/payments/{payment_id}", payment_id=id_of(payment)), models.Payment)


def find_payment(external_id: str, *, entity_id: str | None = None) -> Request[models.Payment | None]:
    """The payment of an external id; None if there is none."""

    def first(answer: Answer) -> models.Payment | None:
        found = json.loads(answer.content)["data"]
        return read(models.Payment, found[0]) if found else None

    return Request("GET", "/v1/payments", first, query_of(external_id=external_id, entity_id=entity_id))


def list_refunds(payment: PaymentOrId) -> Request[Page[models.Refund]]:
    """The refunds of a payment, the oldest first."""
    return listing(path("/v1/payments/{payment_id}/refunds", payment_id=id_of(payment)), models.Refund)


def pay_batch(payments: Sequence[models.NewPayment], *, atomic: bool = False) -> Request[list[models.BatchItem]]:
    """Up to 5,000 payments, answered one by one in their order; `atomic`: all or none."""

    def items(answer: Answer) -> list[models.BatchItem]:
        return [read(models.BatchItem, one) for one in json.loads(answer.content)["data"]]

    body = {"payments": plain(payments), "atomic": atomic}
    return Request("POST", "/v1/payments/batch", items, content=encoded(body), headers=JSON)


# The rest


def readiness() -> Request[models.Ready]:
    """Whether payments are taken."""
    return getting("/readyz", models.Ready)


def liveness() -> Request[models.Alive]:
    """Whether the process answers."""
    return getting("/healthz", models.Alive)


def metrics() -> Request[str]:
    """The figures for Prometheus, in its text format."""
    return Request("GET", "/metrics", as_text)


def list_problems() -> Request[Page[models.ProblemKind]]:
    """Every code of a refusal, in the order of precedence."""
    return listing_whole("/v1/problems", models.ProblemKind)


def ask(
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"],
    where: str,
    *,
    query: Mapping[str, Any] | None = None,
    body: Any = None,
    repeatable: bool = False,
) -> Request[Any]:
    """Anything else of the API: JSON in, JSON out. `repeatable`: a repeat counts once."""
    content = None if body is None else encoded(body)
    headers = {} if body is None else JSON
    return Request(
        method,
        where,
        as_anything,
        query_of(**(query or {})),
        headers,
        content,
        repeatable=repeatable or method == "GET",
    )


# Pieces

PaymentOrId = models.AcknowledgedPayment | models.Payment | str


def id_of(payment: PaymentOrId) -> str:
    """The id of a payment that is given as itself or by its id."""
    found = payment if isinstance(payment, str) else payment.payment_id
    if not found:
        raise ValueError("a payment that was not made has no id")
    return found


def _payment(
    source_account_id: str,
    destination: str | Sequence[models.SplitPart],
    amount_minor: int,
    currency_code: str,
    external_id: str | None,
    description: str | None,
    metadata: Mapping[str, Any] | None,
) -> dict[str, Any]:
    split = {"destination_account_id": destination} if isinstance(destination, str) else {"destinations": destination}
    return given(
        external_id=external_id or new_external_id(),
        source_account_id=source_account_id,
        amount_minor=amount_minor,
        currency_code=currency_code,
        description=description,
        metadata=metadata,
        **split,
    )


def _submitted(body: dict[str, Any], wait_s: float | None) -> Request[models.AcknowledgedPayment]:
    return posting("/v1/payments", body, models.AcknowledgedPayment, wait_s=wait_s)
