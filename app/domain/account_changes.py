"""Changes of accounts: what may change, when a change is refused, and what is recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.account_refusals import account_closed_for_good, account_has_changed, limit_out_of_range
from app.domain.accounts import AccountStatus
from app.domain.money import MAX_MINOR
from app.domain.read_models import Account
from app.domain.refusals import Refusal
from app.domain.reservations import Funds

ACTION = "account.change"
"""What the audit trail calls a change of an account."""

FLOOR_RECOVERED = "account.floor.mended"
"""What the audit trail calls the recovery of a floor in the cache, after a change that never reached the ledger."""

_FACTS = frozenset({"status", "overdraft_limit_minor"})


@dataclass(slots=True, frozen=True)
class AccountPatch:
    """What is to become of an account, and why.

    `fields` maps status, overdraft_limit_minor (minor units, None is no floor), name or metadata to its new value.
    `force` lets a limit fall below what is in use. `expected_version` is the version that the change is based on.
    """

    fields: Mapping[str, Any]
    reason: str | None = None
    force: bool = False
    expected_version: int | None = None


@dataclass(slots=True, frozen=True)
class UnfinishedChange:
    """A change that was begun but not finished.

    If it paused the account, `frozen_in` is the account's version then and `former_status` its status. Earlier versions
    froze it by a recorded change, which was `frozen_in`.
    """

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
    """The cache's answer to a new floor, and the account's funds before it; None if the account is cold."""

    code: LimitCode
    funds: Funds | None


def changed_fields(account: Account, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the wanted fields that differ from the account's."""
    return {name: value for name, value in wanted.items() if getattr(account, name) != value}


def changes_facts(changed: Mapping[str, Any]) -> bool:
    """Whether a change affects decisions about payments."""
    return not _FACTS.isdisjoint(changed)


def needs_pause(account: Account, changed: Mapping[str, Any], *, force: bool) -> bool:
    """Whether the account must be frozen for the change until each of its pending payments is in the ledger.

    A closed account must keep a balance of zero. Pending payments were not checked against a first floor, and a forced
    limit may lie above the floor they were checked against: the ledger would reject payments that were acknowledged.
    """
    if changed.get("status") is AccountStatus.CLOSED:
        return True
    limit = changed.get("overdraft_limit_minor")
    if limit is None:
        return False
    former = account.overdraft_limit_minor
    return former is None or (force and limit < former)


def refuse_stale(account: Account, changed: Mapping[str, Any], expected_version: int | None) -> Refusal | None:
    """Refuse a change that is based on another version of the account; one that changes nothing is a repeat."""
    if expected_version is None or expected_version == account.version or not changed:
        return None
    return account_has_changed(account.account_id, account.version, expected_version)


def refuse_change(account: Account, changed: Mapping[str, Any]) -> Refusal | None:
    """Refuse a change that no balance could allow: one of a closed account, or a limit out of range."""
    if account.status is AccountStatus.CLOSED and changes_facts(changed):
        return account_closed_for_good(account.account_id)
    return refuse_limit(changed.get("overdraft_limit_minor"))


def refuse_limit(overdraft_limit_minor: int | None) -> Refusal | None:
    """Refuse an overdraft limit (minor units; None is no floor) that cannot be counted."""
    if overdraft_limit_minor is None or 0 <= overdraft_limit_minor <= MAX_MINOR:
        return None
    return limit_out_of_range(MAX_MINOR)
