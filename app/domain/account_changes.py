"""Changes of accounts: what may change, when a change is refused, and what is recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.accounts import AccountStatus
from app.domain.money import MAX_MINOR
from app.domain.read_models import Account
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Funds

ACTION = "account.change"
"""What the audit trail calls a change of an account."""

MENDED = "account.floor.mended"
"""And a floor put back in the cache, after a change that never came to the books."""

_FACTS = frozenset({"status", "overdraft_limit_minor"})


@dataclass(slots=True, frozen=True)
class AccountPatch:
    """What is to become of an account, and why. `fields` maps status, overdraft_limit_minor (minor units, None is no
    floor), name or metadata to its new value. `force` lets a limit fall below what is in use. An `interim` change is
    made to be undone.
    """

    fields: Mapping[str, Any]
    reason: str | None = None
    force: bool = False
    interim: bool = False


@dataclass(slots=True, frozen=True)
class UnfinishedChange:
    """A change that somebody has begun; `former_status` and `frozen_in` where it froze the account for a moment."""

    unfinished_change_id: int
    account_id: str
    actor: str
    frozen_in: int | None
    former_status: AccountStatus | None


@dataclass(slots=True, frozen=True)
class AccountChange:
    """A recorded change: who, when, why, and the changed fields before and after."""

    change_id: int
    account_id: str
    actor: str
    recorded_at: datetime
    reason: str | None
    forced: bool
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class LimitCode(StrEnum):
    """The outcomes of `lua/limit.lua`."""

    COLD = "COLD"
    BELOW_USE = "BELOW_USE"
    SUPERSEDED = "SUPERSEDED"
    ASSIGNED = "ASSIGNED"


@dataclass(slots=True, frozen=True)
class LimitReply:
    """What the cache said to another floor, and the account's funds before it; None where it is cold."""

    code: LimitCode
    funds: Funds | None


def changed_fields(account: Account, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wanted fields that differ from the account's."""
    return {name: value for name, value in wanted.items() if getattr(account, name) != value}


def changes_facts(changed: Mapping[str, Any]) -> bool:
    """Whether a change touches what payments are decided by."""
    return not _FACTS.isdisjoint(changed)


def needs_quiet(account: Account, changed: Mapping[str, Any], *, force: bool) -> bool:
    """Whether what is on its way to the books must arrive before the change.

    Closing asks for a balance of zero for good. A first floor was not there to hold what is on its way, and a forced
    limit may lie above what is: the books would refuse what has been acknowledged.
    """
    if changed.get("status") is AccountStatus.CLOSED:
        return True
    limit = changed.get("overdraft_limit_minor")
    if limit is None:
        return False
    former = account.overdraft_limit_minor
    return former is None or (force and limit < former)


def refuse_change(account: Account, changed: Mapping[str, Any]) -> Refusal | None:
    """Refuse what no account may become; balances are not looked at."""
    if account.status is AccountStatus.CLOSED and changes_facts(changed):
        return Refusal(
            RefusalCode.ACCOUNT_CLOSED,
            f"Account {account.account_id!r} is closed for good; only its name and metadata can change.",
            {"account_id": account.account_id, "account_status": account.status.value},
        )
    return refuse_limit(changed.get("overdraft_limit_minor"))


def refuse_limit(overdraft_limit_minor: int | None) -> Refusal | None:
    """Refuse an overdraft limit (minor units; None is no floor) that cannot be counted."""
    if overdraft_limit_minor is None or 0 <= overdraft_limit_minor <= MAX_MINOR:
        return None
    return Refusal(
        RefusalCode.AMOUNT_OUT_OF_RANGE,
        f"overdraft_limit_minor must lie between 0 and {MAX_MINOR}.",
        {"field": "overdraft_limit_minor", "max_minor": MAX_MINOR},
    )


def limit_below_use(account_id: str, overdraft_limit_minor: int, funds: Funds) -> Refusal:
    """The refusal of a limit below what is in use; figures in minor units."""
    lowest_limit = max(0, funds.held_minor - funds.balance_minor)
    return Refusal(
        RefusalCode.LIMIT_BELOW_USE,
        f"Account {account_id!r} uses {lowest_limit} of its overdraft, more than the new limit of "
        f"{overdraft_limit_minor}. Send force: true to set it all the same; nothing can then be spent until the "
        "balance has risen.",
        {
            "account_id": account_id,
            "overdraft_limit_minor": overdraft_limit_minor,
            "lowest_limit_minor": lowest_limit,
            "balance_minor": funds.balance_minor,
            "held_minor": funds.held_minor,
            "version": funds.version,
        },
    )


def limit_below_promised(account_id: str, overdraft_limit_minor: int, funds: Funds) -> Refusal:
    """The refusal of a forced limit that would break open authorizations; figures in minor units."""
    detail = (
        f"Open authorizations hold {funds.held_minor} of account {account_id!r} and could not be captured under a "
        f"limit of {overdraft_limit_minor}. Capture or void them first; force does not break them."
    )
    return replace(limit_below_use(account_id, overdraft_limit_minor, funds), detail=detail)


def authorizations_hold_nothing(account_id: str, count: int) -> Refusal:
    """The refusal of a first limit while authorizations that were made without one are open."""
    return Refusal(
        RefusalCode.LIMIT_BELOW_USE,
        f"{count} open authorizations will lower the balance of account {account_id!r} and hold nothing on it, for it "
        "had no limit when they were made. Capture or void them first.",
        {"account_id": account_id, "open_authorizations": count},
    )


@dataclass(slots=True, frozen=True)
class Remainder:
    """What still keeps an account from being closed; amounts in minor units."""

    balance_minor: int
    held_minor: int
    pending_payments: int
    open_authorizations: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing does."""
        return not (self.balance_minor or self.held_minor or self.pending_payments or self.open_authorizations)


def account_not_empty(account_id: str, left: Remainder) -> Refusal:
    """The refusal to close an account, with what is left on it."""
    return Refusal(
        RefusalCode.ACCOUNT_NOT_EMPTY,
        f"Account {account_id!r} cannot be closed: its balance is {left.balance_minor}, {left.held_minor} are held, "
        f"{left.pending_payments} payments that touch it are on their way to the books, "
        f"{left.open_authorizations} authorizations are open.",
        {
            "account_id": account_id,
            "balance_minor": left.balance_minor,
            "held_minor": left.held_minor,
            "pending_payments": left.pending_payments,
            "open_authorizations": left.open_authorizations,
        },
    )
