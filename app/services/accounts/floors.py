"""Floors in the cache: the limits below which accounts cannot be spent, kept at least as strict as the ledger's.

A change writes a stricter floor to the cache before the ledger has it, and a looser one afterwards. So the cache never
promises what the ledger would refuse.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from app.domain.account_changes import LimitCode
from app.domain.account_refusals import authorizations_hold_nothing, limit_below_authorizations, limit_below_use
from app.domain.accounts import floor_of
from app.domain.errors import Fault

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.domain.account_changes import UnfinishedChange
    from app.domain.refusals import Refusal
    from app.ledger.account_changes import LedgerAccountChanges, OpenChange


log = logging.getLogger(__name__)


class AccountIsCold(Exception):
    """The cache does not have the account: roll the transaction back, hydrate the account, try again."""


class CacheFloors:
    """Changes the floors that the cache guards, while a ledger transaction has locked the account."""

    def __init__(self, cache: Cache, ledger: LedgerAccountChanges) -> None:
        self._cache = cache
        self._ledger = ledger

    def refuse_limit(self, change: OpenChange, limit_minor: int | None, *, force: bool) -> Refusal | None:
        """Refuse a limit under which the ledger would not take the capture of an authorization that is open now.

        A forced limit may leave the balance below the floor, but open authorizations must still fit in. A first limit
        is refused if there are open authorizations for which nothing is held. No intent of the account is pending here,
        so everything held on it belongs to open authorizations.
        """
        assert change.account is not None
        account_id = change.account.account_id
        if limit_minor is None:
            return None
        if change.account.overdraft_limit_minor is None and (unheld := change.unheld_authorizations()):
            return authorizations_hold_nothing(account_id, unheld)
        if not force:
            return None
        cached = self._cache.accounts.balance(account_id)
        if cached is None:
            raise AccountIsCold
        funds = cached.funds
        breaks = funds.held_minor > 0 and funds.balance_minor - funds.held_minor < -limit_minor
        if not breaks:
            return None
        return limit_below_authorizations(account_id, limit_minor, funds.balance_minor, funds.held_minor, funds.version)

    def tighten(self, account_id: str, limit_minor: int | None, version: int, *, force: bool) -> Refusal | None:
        """Make the cache guard the stricter of the old and the new floor; refuse if more than that is in use."""
        reply = self._cache.accounts.limit(account_id, floor_of(limit_minor), version, "force" if force else "check")
        if reply.code is LimitCode.COLD:
            raise AccountIsCold
        if reply.code is LimitCode.BELOW_USE:
            funds = reply.funds
            assert funds is not None
            assert limit_minor is not None
            return limit_below_use(account_id, limit_minor, funds.balance_minor, funds.held_minor, funds.version)
        return None

    def restore(self, account_id: str, version: int) -> None:
        """Restore the ledger's floor after a change that may not have been committed.

        The lock waits for a commit whose answer was lost. If this fails too, the cache stays stricter than the ledger
        until recovery.
        """
        try:
            with self._ledger.changing(account_id) as change:
                _, floor_minor = change.lock_balance()
                self._cache.accounts.limit(account_id, floor_minor, version, "assign")
        except Fault as fault:
            log.error("the floor of account %s was not put back: %s", account_id, fault)

    def assign(self, account_id: str) -> None:
        """Make the cache guard the ledger's floor, also one of somebody else's; a cold account gets it once hydrated.

        The floor is in force as of the next directory version: under the lock, no other change can commit that version.
        """
        with self._ledger.changing(account_id) as change:
            _, floor_minor = change.lock_balance()
            self._cache.accounts.limit(account_id, floor_minor, change.next_directory_version(), "assign")

    def recover(self, left: UnfinishedChange, actor: str) -> None:
        """Assign the ledger's floor after a change that broke off, and record it if the cache had another.

        A change that is still in progress holds the lock, so this sees what it commits.
        """
        with self._ledger.changing(left.account_id) as change:
            _, floor_minor = change.lock_balance()
            reply = self._cache.accounts.limit(left.account_id, floor_minor, change.next_directory_version(), "assign")
            if reply.funds is not None and reply.funds.floor_minor != floor_minor:
                figures = {"cache_floor_minor": reply.funds.floor_minor, "ledger_floor_minor": floor_minor}
                change.record_floor_recovery({**figures, "begun_by": left.actor}, actor)
