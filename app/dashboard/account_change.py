"""Changing an account: its limit and its status, with a reason, after a preview of what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.api.fields import number_of
from app.dashboard.context import here
from app.dashboard.formats import money, read_money
from app.dashboard.frame import actor, needs
from app.dashboard.refusal_texts import Told, told
from app.domain.account_changes import AccountPatch, changed_fields, refuse_change
from app.domain.accounts import AccountStatus
from app.domain.errors import Fault
from app.domain.read_models import Account
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Funds
from app.domain.users import Role

pages = Blueprint("account_change", __name__)

Page = str | Response | tuple[str, int]

LONGEST_REASON = 1_000

EFFECTS: Mapping[AccountStatus, str] = {
    AccountStatus.OPEN: "Payments from it and to it are accepted again, from the very next one on.",
    AccountStatus.FROZEN_DEBITS: "Debits are refused from the very next payment on; credits go on.",
    AccountStatus.FROZEN_CREDITS: "Credits are refused from the very next payment on; debits go on.",
    AccountStatus.FROZEN: "Every payment from it and to it is refused, from the very next one on.",
    AccountStatus.CLOSED: "It is closed for good: nothing moves on it again, and it cannot be opened any more.",
}


@dataclass(slots=True)
class Wish:
    """What somebody wants of an account, as typed."""

    status: str = ""
    limit: str = ""
    reason: str = ""
    force: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    def fields(self, account: Account) -> dict[str, Any]:
        """The fields that would change; what cannot be read is named in `errors`."""
        wanted: dict[str, Any] = {}
        if self.status in set(AccountStatus):
            wanted["status"] = AccountStatus(self.status)
        wanted["overdraft_limit_minor"] = self._limit(account)
        changed = dict(changed_fields(account, wanted))
        if "limit" in self.errors:
            changed.pop("overdraft_limit_minor", None)
        if not self.reason:
            self.errors["reason"] = "Say why: the reason is kept with the change."
        if not changed and not self.errors:
            self.errors["status"] = "Nothing would change."
        return changed

    def _limit(self, account: Account) -> int | None:
        if not self.limit:
            return None
        try:
            limit_minor = read_money(self.limit, account.currency_code)
        except ValueError as error:
            self.errors["limit"] = str(error)
            return None
        if limit_minor < 0:
            self.errors["limit"] = "A limit is how far below zero the account may fall: zero or more."
        return limit_minor


@pages.get("/account-changes/<path:account_id>")
@needs(Role.CONTROLLER)
def page(account_id: str) -> str:
    """The form, as the account is; a link may have chosen another status."""
    account = _account(account_id)
    wish = Wish(request.args.get("status") or account.status.value, _limit_of(account))
    return _shown(account, wish)


@pages.post("/account-changes/<path:account_id>")
@needs(Role.CONTROLLER)
def change(account_id: str) -> Page:
    """A preview, or the change itself."""
    account = _account(account_id)
    status, limit, reason = (request.form.get(name, "").strip() for name in ("status", "limit", "reason"))
    wish = Wish(status, limit, reason[:LONGEST_REASON], "force" in request.form)
    changed = wish.fields(account)
    if wish.errors:
        return _shown(account, wish), 422
    if request.form.get("do") != "change":
        return _shown(account, wish, changed)
    version = number_of(request.form.get("version", ""))
    patch = AccountPatch(changed, wish.reason, wish.force, -1 if version is None else version)
    outcome = here().api.changes.change(account_id, patch, actor())
    if isinstance(outcome, Refusal):
        account = _account(account_id)
        return _shown(account, wish, refusal=outcome), 422
    flash("The account is changed, and the change is on record below.")
    return redirect(url_for("account.page", account_id=account_id), 303)


def _account(account_id: str) -> Account:
    found = here().api.accounts.get(account_id)
    return abort(404) if found is None else found


def _limit_of(account: Account) -> str:
    return money(account.overdraft_limit_minor, account.currency_code)


def _shown(
    account: Account, wish: Wish, changed: Mapping[str, Any] | None = None, refusal: Refusal | None = None
) -> str:
    funds = funds_of(account.account_id)
    early = None if changed is None else refuse_change(account, changed)
    return render_template(
        "account_change.html",
        account=account,
        wish=wish,
        statuses=list(AccountStatus),
        changed=changed,
        preview=[] if changed is None else preview(account, changed),
        obstacles=[] if changed is None else obstacles(account, changed, funds),
        funds=funds,
        refusal=_told(refusal or early, account),
        may_force=refusal is not None and refusal.code is RefusalCode.LIMIT_BELOW_USE,
    )


def _told(refusal: Refusal | None, account: Account) -> Told | None:
    return None if refusal is None else told(refusal, account.currency_code)


def funds_of(account_id: str) -> Funds | None:
    """The funds as the cache has them; None while it does not answer."""
    try:
        found = here().api.balances.get(account_id)
    except Fault:
        return None
    return None if found is None else found.cached.funds


# The preview


def preview(account: Account, changed: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each changed field: its name, what it is, what it becomes, and what that means."""
    rows = []
    if "overdraft_limit_minor" in changed:
        before, after = account.overdraft_limit_minor, changed["overdraft_limit_minor"]
        rows.append(("Overdraft limit", _limit(before, account), _limit(after, account), _limit_effect(after, account)))
    if "status" in changed:
        status = changed["status"]
        rows.append(("Status", account.status.replace("_", " "), status.replace("_", " "), EFFECTS[status]))
    return rows


def _limit(limit_minor: int | None, account: Account) -> str:
    return "none" if limit_minor is None else f"{money(limit_minor, account.currency_code)} {account.currency_code}"


def _limit_effect(limit_minor: int | None, account: Account) -> str:
    if limit_minor is None:
        return "Payments may take it below zero without a limit."
    if limit_minor == 0:
        return "Payments may take it to zero, and no further."
    return f"Payments may take it to {money(-limit_minor, account.currency_code)} {account.currency_code}."


def obstacles(account: Account, changed: Mapping[str, Any], funds: Funds | None) -> list[str]:
    """What stands in the way as far as the cache knows now; the change itself looks again, and has the last word."""
    if funds is None:
        return ["The cache does not answer, so the change will not be made now."]
    code = account.currency_code
    found = []
    if changed.get("status") is AccountStatus.CLOSED and (funds.balance_minor or funds.held_minor):
        left, held = money(funds.balance_minor, code), money(funds.held_minor, code)
        found.append(f"An account is closed empty. Its balance is {left} {code}, and {held} {code} are held.")
    limit_minor = changed.get("overdraft_limit_minor")
    if limit_minor is not None and funds.balance_minor - funds.held_minor < -limit_minor:
        used = money(funds.held_minor - funds.balance_minor, code)
        found.append(f"{used} {code} of an overdraft are in use, more than the new limit.")
    return found
