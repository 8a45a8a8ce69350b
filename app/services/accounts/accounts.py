"""Opening accounts, and reading them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from json import dumps
from typing import TYPE_CHECKING, Any

from app.domain.account_changes import refuse_limit
from app.domain.account_refusals import account_exists, unknown_currency
from app.domain.accounts import AccountType
from app.domain.payment_checks import refuse_account_id, refuse_id
from app.domain.read_models import Account
from app.domain.refusals import Refusal
from app.services.accounts.assets import Assets

if TYPE_CHECKING:
    from app.ledger.accounts import LedgerAccounts


@dataclass(slots=True, frozen=True)
class AccountRequest:
    """An account as requested. `overdraft_limit_minor` is in minor units; None means no floor."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    name: str | None
    overdraft_limit_minor: int | None
    metadata: dict[str, Any] | None


class Accounts:
    """Opens accounts in the ledger, and reads them."""

    def __init__(self, register: LedgerAccounts, assets: Assets) -> None:
        self._register = register
        self._assets = assets

    def create(self, request: AccountRequest, actor: str) -> tuple[Account, bool] | Refusal:
        """Open an account; returns it and whether it is new. A repeat is fine; one with another content is refused."""
        refusal = _check(request)
        if refusal is not None:
            return refusal
        asset = self._assets.get(request.currency_code)
        if asset is None:
            return unknown_currency(request.currency_code)
        wanted = asdict(request)
        account, created = self._register.create(wanted, actor, asset)
        for name, value in wanted.items():
            if not created and _differs(getattr(account, name), value):
                return account_exists(account.account_id, name)
        return account, created

    def get(self, account_id: str) -> Account | None:
        """One account; None if there is none."""
        return self._register.get(account_id)

    def page(
        self,
        *,
        limit: int,
        after: str | None,
        entity_id: str | None,
        currency_code: str | None,
        entities: Collection[str] | None = None,
    ) -> list[Account]:
        """Up to `limit` accounts by id, after account `after`; with `entities` only theirs."""
        return self._register.page(
            limit=limit, after=after, entity_id=entity_id, currency_code=currency_code, entities=entities
        )


def _differs(ours: object, theirs: object) -> bool:
    """Whether two values of a field differ. Metadata is compared as JSON: to Python, `true` and 1 are equal.

    Empty metadata and none mean the same.
    """
    if ours in ({}, None) and theirs in ({}, None):
        return False
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return dumps(ours, sort_keys=True) != dumps(theirs, sort_keys=True)
    return ours != theirs


def _check(request: AccountRequest) -> Refusal | None:
    return (
        refuse_account_id(request.account_id)
        or refuse_id("entity_id", request.entity_id)
        or refuse_limit(request.overdraft_limit_minor)
    )
