"""Changing accounts: limit, status, name, metadata. Each change is recorded, and in force for the very next payment.

The ledger decides and the cache follows. A change that payments still pending could contradict pauses the account
first, so that it takes no payment, and waits until none is pending in any outbox. Before an account is paused to be
closed, it is looked at: if it is not empty, no payment is turned away for nothing. `floors.py` keeps the cache at least
as strict as the ledger; `recovery.py` finishes what a killed process leaves half done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.domain.account_changes import (
    AccountChange,
    AccountPatch,
    UnfinishedChange,
    changed_fields,
    changes_facts,
    needs_pause,
    refuse_change,
    refuse_stale,
)
from app.domain.account_refusals import account_not_empty, account_not_found, change_not_confirmed
from app.domain.accounts import AccountStatus
from app.domain.errors import ConcurrencyRetryExhausted, Fault
from app.domain.read_models import Account
from app.domain.refusals import Refusal
from app.services.accounts.directory import DirectoryPush
from app.services.accounts.floors import AccountIsCold, CacheFloors
from app.services.accounts.hydration import Balances

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.account_changes import LedgerAccountChanges, OpenChange


log = logging.getLogger(__name__)

ATTEMPTS = 6
"""A cold account takes a second attempt; more mean that the cache keeps losing the account."""

PATIENCE_S = 5.0
"""How long a change waits for the account's pending intents to be posted: milliseconds while a drain runs."""

POLL_S = 0.01
"""The pause between two looks: about one round of a drain."""

RECOVERY_ACTOR = "clock"
"""The actor recorded for what recovery changes."""


class AccountChanges:
    """Changes accounts, and lists what was changed."""

    def __init__(
        self,
        ledger: LedgerAccountChanges,
        cache: Cache,
        balances: Balances,
        directory: DirectoryPush,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        release_due: Callable[[Collection[str]], int] = lambda _: 0,
    ) -> None:
        """`release_due` releases what is held on accounts past its time: it must not stand in the way of a change."""
        self._ledger = ledger
        self._cache = cache
        self._balances = balances
        self._directory = directory
        self._floors = CacheFloors(cache, ledger)
        self._release_due = release_due
        self._pending = PendingIntents(cache, monotonic=monotonic, sleep=sleep)

    def change(self, account_id: str, patch: AccountPatch, actor: str) -> Account | Refusal:
        """Change an account; returns it as it is now. A repeat changes and records nothing, but pushes again.

        A patch with an `expected_version` is refused if the account has changed since, unless it is already as wanted.
        """
        with self._ledger.changing(account_id) as change:
            account = change.account
        if account is None:
            return account_not_found(account_id)
        changed = changed_fields(account, patch.fields)
        refusal = refuse_stale(account, changed, patch.expected_version) or refuse_change(account, changed)
        if refusal is not None:
            return refusal
        if changes_facts(changed):
            self._release_due([account_id])
        if needs_pause(account, changed, force=patch.force):
            return self._change_while_paused(account_id, patch, actor)
        with self._recoverable(account_id, patch, actor):
            outcome = self._write(account_id, patch, actor)
            return outcome if isinstance(outcome, Refusal) else self._push(outcome, patch)

    def page(self, account_id: str, *, limit: int, after: int) -> list[AccountChange]:
        """Up to `limit` changes of an account, oldest first, after change `after`."""
        return self._ledger.changes(account_id, limit=limit, after=after)

    def recover(self, left: UnfinishedChange) -> None:
        """Finish a change that broke off: the cache gets the ledger's floor, and a paused account takes payments."""
        if left.former_status is None:
            self._floors.recover(left, RECOVERY_ACTOR)
            self._directory.push()
            self._ledger.end(left.unfinished_change_id)
            return
        back = AccountPatch({"status": left.former_status}, reason="a change of it was broken off; as before")
        try:
            # Changes nothing, unless an earlier version has frozen the account.
            self._write(left.account_id, back, RECOVERY_ACTOR, paused_at=left.frozen_in)
        except ConcurrencyRetryExhausted:
            log.warning("account %s was changed since a change of it broke off; it stays so", left.account_id)
        self._resume(left.account_id)

    # Writing

    @contextmanager
    def _recoverable(self, account_id: str, patch: AccountPatch, actor: str) -> Iterator[None]:
        """Note in the ledger that a limit is being changed, until the cache guards the ledger's floor.

        If a fault or a kill ends the change in between, the note stays, and recovery finds it.
        """
        if "overdraft_limit_minor" not in patch.fields:
            yield
            return
        begun = self._ledger.begin(account_id, actor)
        yield
        try:
            self._ledger.end(begun)
        except Fault as fault:
            log.warning("the note of a finished change of account %s stays for recovery: %s", account_id, fault)

    def _write(
        self, account_id: str, patch: AccountPatch, actor: str, *, paused_at: int | None = None
    ) -> Account | Refusal:
        """One change in one transaction; returns the account as it is then.

        `paused_at` is the version at which the account was paused for this change, which must still be so.
        """
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(account_id, patch, actor, paused_at)
            except AccountIsCold:
                self._balances.hydrate([account_id])
        raise ConcurrencyRetryExhausted("the cache does not keep the account")

    def _attempt(self, account_id: str, patch: AccountPatch, actor: str, paused_at: int | None) -> Account | Refusal:
        tightened_in: int | None = None
        try:
            with self._ledger.changing(account_id) as change:
                assert change.account is not None
                if paused_at is not None and not (change.is_paused and change.account.version == paused_at):
                    raise ConcurrencyRetryExhausted("another change of the account came in between")
                changed = changed_fields(change.account, patch.fields)
                refusal = (
                    refuse_stale(change.account, changed, patch.expected_version)
                    or refuse_change(change.account, changed)
                    or self._refuse_closing(change, changed)
                )
                if refusal is not None:
                    return refusal
                if paused_at is not None:
                    change.resume()
                if not changed:
                    return change.account
                if paused_at is None and needs_pause(change.account, changed, force=patch.force):
                    raise ConcurrencyRetryExhausted("another change of the account came in between")
                if "overdraft_limit_minor" in changed:
                    change.lock_balance()
                    limit_minor = changed["overdraft_limit_minor"]
                    refusal = self._floors.refuse_limit(change, limit_minor, force=patch.force)
                    if refusal is not None:
                        return refusal
                    tightened_in = change.next_directory_version()
                    refusal = self._floors.tighten(account_id, limit_minor, tightened_in, force=patch.force)
                    if refusal is not None:
                        return refusal
                return change.write(changed, patch, actor)
        except Exception:
            if tightened_in is not None:
                self._floors.restore(account_id, tightened_in)
            raise

    def _push(self, account: Account, patch: AccountPatch) -> Account | Refusal:
        """Tell the cache what the ledger says now; if that fails, the scheduled push does it later."""
        if not changes_facts(patch.fields):
            return account
        try:
            if "overdraft_limit_minor" in patch.fields:
                self._floors.assign(account.account_id)
            self._directory.push()
        except Fault as fault:
            log.warning("change of account %s not pushed, the schedule will: %s", account.account_id, fault)
            return change_not_confirmed(account.account_id)
        return account

    # Changing a paused account, of which no intent is pending

    def _change_while_paused(self, account_id: str, patch: AccountPatch, actor: str) -> Account | Refusal:
        """Pause the account, wait until none of its intents is pending, change it; if that fails, resume it."""
        is_closing = patch.fields.get("status") is AccountStatus.CLOSED
        if is_closing and (refusal := self._look_before_closing(account_id)):
            return refusal
        paused_at = self._pause(account_id, patch, actor)
        if isinstance(paused_at, Refusal):
            return paused_at
        done = False
        try:
            self._directory.push()
            # Closing answers itself with the number of intents that are still pending.
            if not self._pending.wait_until_none(account_id) and not is_closing:
                raise ConcurrencyRetryExhausted("pending payments of the account do not reach the ledger")
            with self._recoverable(account_id, patch, actor):
                written = self._write(account_id, patch, actor, paused_at=paused_at)
                done = not isinstance(written, Refusal)
                return written if isinstance(written, Refusal) else self._push(written, patch)
        finally:
            if not done:
                self._resume(account_id)

    def _pause(self, account_id: str, patch: AccountPatch, actor: str) -> int | Refusal:
        """Have the account take no payment; returns its version."""
        with self._ledger.changing(account_id) as change:
            assert change.account is not None
            if change.is_paused:
                raise ConcurrencyRetryExhausted("another change of the account is under way")
            changed = changed_fields(change.account, patch.fields)
            refusal = refuse_stale(change.account, changed, patch.expected_version)
            return refusal or refuse_change(change.account, changed) or change.pause(actor)

    def _resume(self, account_id: str) -> None:
        """Have the account take payments again; if this fails, recovery does it later."""
        try:
            with self._ledger.changing(account_id) as change:
                change.resume()
            self._directory.push()
        except Fault as fault:
            log.error("account %s may take no payments until recovery: %s", account_id, fault)

    def _look_before_closing(self, account_id: str) -> Refusal | None:
        """Refuse to close an account that is not empty, before any payment is turned away for it."""
        self._pending.wait_until_none(account_id)
        for _ in range(ATTEMPTS):
            try:
                with self._ledger.changing(account_id) as change:
                    return self._refuse_not_empty(change)
            except AccountIsCold:
                self._balances.hydrate([account_id])
        raise ConcurrencyRetryExhausted("the cache does not keep the account")

    def _refuse_closing(self, change: OpenChange, changed: Mapping[str, Any]) -> Refusal | None:
        """Refuse to close an account that is not empty. It is paused, so nothing new comes in meanwhile."""
        return self._refuse_not_empty(change) if changed.get("status") is AccountStatus.CLOSED else None

    def _refuse_not_empty(self, change: OpenChange) -> Refusal | None:
        assert change.account is not None
        account_id = change.account.account_id
        balance_minor, _ = change.lock_balance()
        cached = self._cache.accounts.balance(account_id)
        if cached is None:
            raise AccountIsCold
        left = {
            "balance_minor": balance_minor,
            "held_minor": cached.funds.held_minor,
            "pending_payments": self._pending.count(account_id),
            "open_authorizations": change.open_authorizations(),
        }
        return account_not_empty(account_id, **left) if any(left.values()) else None


class PendingIntents:
    """Looks through all outboxes for intents that touch an account."""

    def __init__(self, cache: Cache, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._cache = cache
        self._monotonic = monotonic
        self._sleep = sleep

    def wait_until_none(self, account_id: str) -> bool:
        """Wait until no intent in any outbox touches the account; returns False if PATIENCE_S passes first."""
        give_up = self._monotonic() + PATIENCE_S
        while self.count(account_id):
            if self._monotonic() >= give_up:
                return False
            self._sleep(POLL_S)
        return True

    def count(self, account_id: str) -> int:
        """How many pending intents touch the account."""
        return sum(self._count_in(partition, account_id) for partition in range(self._cache.partitions))

    def _count_in(self, partition: int, account_id: str) -> int:
        return sum(
            account_id in {queued.intent.guarded_account_id, *(leg.account_id for leg in queued.intent.legs)}
            for page in self._cache.outbox.pages(partition)
            for queued in page
        )
