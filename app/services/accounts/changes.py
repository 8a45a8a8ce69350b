"""Changing accounts: limit, status, name, metadata; each change recorded, and in force for the very next payment.

The books decide and the cache follows, but the cache must never be looser than the books: a stricter floor is in the
cache before it is in the books, a looser one after.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.domain.account_changes import (
    AccountChange,
    AccountPatch,
    LimitCode,
    Remainder,
    UnfinishedChange,
    account_not_empty,
    authorizations_hold_nothing,
    changed_fields,
    changes_facts,
    limit_below_promised,
    limit_below_use,
    needs_quiet,
    refuse_change,
)
from app.domain.accounts import AccountStatus, floor_of
from app.domain.errors import ConcurrencyRetryExhausted, Fault
from app.domain.read_models import Account
from app.domain.refusals import Refusal, RefusalCode
from app.services.accounts.accounts import account_not_found
from app.services.accounts.hydration import Balances
from app.services.accounts.recovery import DirectoryPush

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.account_changes import LedgerAccountChanges, OpenChange


log = logging.getLogger(__name__)

PASSES = 6
"""A cold account asks for a second pass; more mean that the cache is being lost again and again."""

MENDER = "clock"
"""The actor of what is mended after a process was killed."""


class _Cold(Exception):
    """The cache does not know the account; the transaction is given up and tried again."""


class AccountChanges:
    """The verbs of changing accounts."""

    def __init__(
        self,
        ledger: LedgerAccountChanges,
        cache: Cache,
        balances: Balances,
        directory: DirectoryPush,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._ledger = ledger
        self._cache = cache
        self._balances = balances
        self._directory = directory
        self._quiet = Quiet(cache, monotonic=monotonic, sleep=sleep)

    def change(self, account_id: str, patch: AccountPatch, actor: str) -> Account | Refusal:
        """Change an account; returns it as it is now. The same again changes and records nothing, but pushes again."""
        with self._ledger.changing(account_id) as change:
            account = change.account
        if account is None:
            return account_not_found(account_id)
        changed = changed_fields(account, patch.fields)
        refusal = refuse_change(account, changed)
        if refusal is not None:
            return refusal
        if needs_quiet(account, changed, force=patch.force):
            return self._change_in_quiet(account, patch, actor)
        with self._noted(account_id, patch, actor):
            outcome = self._write(account_id, patch, actor)
            return outcome if isinstance(outcome, Refusal) else self._pushed(outcome[0], patch)

    def page(self, account_id: str, *, limit: int, after: int) -> list[AccountChange]:
        """Up to `limit` changes of an account, oldest first, those behind change `after`."""
        return self._ledger.changes(account_id, limit=limit, after=after)

    def mend(self, left: UnfinishedChange) -> None:
        """Bring an account out of a change that broke off: the cache gets the books' floor, a freeze is taken back."""
        if left.former_status is None:
            self._mend_floor(left)
        else:
            back = AccountPatch({"status": left.former_status}, reason="a change of it was broken off; as before")
            try:
                self._write(left.account_id, back, MENDER, quiet_since=left.frozen_in)
            except ConcurrencyRetryExhausted:
                log.warning("account %s was changed since a change of it broke off; it stays so", left.account_id)
        self._directory.push()
        self._ledger.end(left.unfinished_change_id)

    def _mend_floor(self, left: UnfinishedChange) -> None:
        """The lock waits for a change that is under way all the same; what it has committed is what is assigned."""
        with self._ledger.changing(left.account_id) as change:
            _, floor_minor = change.lock_balance()
            reply = self._cache.accounts.limit(left.account_id, floor_minor, change.next_directory_version(), "assign")
            if reply.funds is not None and reply.funds.floor_minor != floor_minor:
                figures = {"cache_floor_minor": reply.funds.floor_minor, "ledger_floor_minor": floor_minor}
                change.record_mended({**figures, "begun_by": left.actor}, MENDER)

    # Writing

    @contextmanager
    def _noted(self, account_id: str, patch: AccountPatch, actor: str) -> Iterator[None]:
        """Have the books know that the limit is being changed, until the cache guards the floor that they have.

        What ends in between, by a fault or by a kill, leaves the note, and the sweep mends the account.
        """
        if "overdraft_limit_minor" not in patch.fields:
            yield
            return
        begun = self._ledger.begin(account_id, actor)
        yield
        try:
            self._ledger.end(begun)
        except Fault as fault:
            log.warning("the note of a finished change of account %s stays, the sweep looks: %s", account_id, fault)

    def _write(
        self, account_id: str, patch: AccountPatch, actor: str, *, quiet_since: int | None = None
    ) -> tuple[Account, int] | Refusal:
        """One change in one transaction; returns the account and the change's id."""
        for _ in range(PASSES):
            try:
                return self._attempt(account_id, patch, actor, quiet_since)
            except _Cold:
                self._balances.hydrate([account_id])
        raise ConcurrencyRetryExhausted("the cache does not keep the account")

    def _attempt(
        self, account_id: str, patch: AccountPatch, actor: str, quiet_since: int | None
    ) -> tuple[Account, int] | Refusal:
        tightened_in: int | None = None
        try:
            with self._ledger.changing(account_id) as change:
                assert change.account is not None
                last_change_id = change.last_change_id()
                if quiet_since is not None and last_change_id != quiet_since:
                    raise ConcurrencyRetryExhausted("somebody else changed the account meanwhile")
                changed = changed_fields(change.account, patch.fields)
                refusal = refuse_change(change.account, changed) or self._refuse_closing(change, changed)
                if refusal is not None:
                    return refusal
                if not changed:
                    return change.account, last_change_id
                if quiet_since is None and needs_quiet(change.account, changed, force=patch.force):
                    raise ConcurrencyRetryExhausted("somebody else changed the account meanwhile")
                if "overdraft_limit_minor" in changed:
                    change.lock_balance()
                    limit_minor = changed["overdraft_limit_minor"]
                    refusal = self._refuse_breaking_promises(change, limit_minor, force=patch.force)
                    if refusal is not None:
                        return refusal
                    tightened_in = change.next_directory_version()
                    refusal = self._tighten(account_id, limit_minor, tightened_in, patch.force)
                    if refusal is not None:
                        return refusal
                written = change.write(changed, patch, actor)
                if patch.interim:
                    change.note_frozen(actor, written[1])
                if quiet_since is not None:
                    change.forget_frozen(quiet_since)
                return written
        except Exception:
            if tightened_in is not None:
                self._loosen_again(account_id, tightened_in)
            raise

    def _refuse_breaking_promises(self, change: OpenChange, limit_minor: int | None, *, force: bool) -> Refusal | None:
        """Refuse a limit under which the books would not take the capture of an authorization that is open now.

        A forced limit may lie above the balance, but not above what is promised of it; a first one must not find
        promises for which nothing is held. The account is quiet: its holds are those of open authorizations.
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
            raise _Cold
        funds = cached.funds
        breaks = funds.held_minor > 0 and funds.balance_minor - funds.held_minor < -limit_minor
        return limit_below_promised(account_id, limit_minor, funds) if breaks else None

    def _tighten(self, account_id: str, limit_minor: int | None, version: int, force: bool) -> Refusal | None:
        """Have the cache guard the stricter of the old and the new floor, checked against what is in use."""
        reply = self._cache.accounts.limit(account_id, floor_of(limit_minor), version, "force" if force else "check")
        if reply.code is LimitCode.COLD:
            raise _Cold
        if reply.code is LimitCode.BELOW_USE:
            assert reply.funds is not None
            assert limit_minor is not None
            return limit_below_use(account_id, limit_minor, reply.funds)
        return None

    def _loosen_again(self, account_id: str, version: int) -> None:
        """Put back the floor that the books have, after a change that may not have been committed.

        The lock waits for a commit whose answer was lost. Where this fails too, the cache stays the stricter one until
        the sweep mends it.
        """
        try:
            with self._ledger.changing(account_id) as change:
                _, floor_minor = change.lock_balance()
                self._cache.accounts.limit(account_id, floor_minor, version, "assign")
        except Fault as fault:
            log.error("the floor of account %s was not put back: %s", account_id, fault)

    def _pushed(self, account: Account, patch: AccountPatch) -> Account | Refusal:
        """Tell the cache what is in the books now; a failure leaves it to the sweep."""
        if not changes_facts(patch.fields):
            return account
        try:
            if "overdraft_limit_minor" in patch.fields:
                self._assign_floor(account.account_id)
            self._directory.push()
        except Fault as fault:
            log.warning("change of account %s not pushed, the sweep will: %s", account.account_id, fault)
            return _refuse_unpushed(account.account_id)
        return account

    def _assign_floor(self, account_id: str) -> None:
        """Guard the books' floor, whoever has changed it last; a cold account takes it when it is hydrated.

        As of the next directory version: under the lock, whatever the cache has of that version was never committed.
        """
        with self._ledger.changing(account_id) as change:
            _, floor_minor = change.lock_balance()
            self._cache.accounts.limit(account_id, floor_minor, change.next_directory_version(), "assign")

    # What needs quiet

    def _change_in_quiet(self, account: Account, patch: AccountPatch, actor: str) -> Account | Refusal:
        """Freeze the account, let what is on its way arrive, change it; else give it its former status back."""
        account_id = account.account_id
        reason = f"to change it in quiet: {patch.reason}"
        freeze = AccountPatch({"status": AccountStatus.FROZEN}, reason, interim=True)
        outcome = self._write(account_id, freeze, actor)
        if isinstance(outcome, Refusal):
            return outcome
        _, frozen_in = outcome
        change = replace(patch, fields={"status": account.status, **patch.fields})
        done = False
        try:
            self._directory.push()
            # Closing says itself what is still on its way.
            if not self._quiet.wait(account_id) and patch.fields.get("status") is not AccountStatus.CLOSED:
                raise ConcurrencyRetryExhausted("payments of the account do not reach the books")
            with self._noted(account_id, patch, actor):
                written = self._write(account_id, change, actor, quiet_since=frozen_in)
                done = not isinstance(written, Refusal)
                return written if isinstance(written, Refusal) else self._pushed(written[0], change)
        finally:
            if not done:
                self._thaw(account, frozen_in, actor)

    def _thaw(self, account: Account, frozen_in: int, actor: str) -> None:
        """Give the former status back; where even this fails, the sweep does it a little later."""
        back = AccountPatch({"status": account.status}, reason="not changed; as before")
        try:
            self._write(account.account_id, back, actor, quiet_since=frozen_in)
            self._directory.push()
        except Fault as fault:
            log.error("account %s may stay frozen until the sweep opens it: %s", account.account_id, fault)

    def _refuse_closing(self, change: OpenChange, changed: Mapping[str, Any]) -> Refusal | None:
        """Refuse to close an account that is not empty; nothing is on its way to it any more, if it was frozen."""
        if changed.get("status") is not AccountStatus.CLOSED:
            return None
        assert change.account is not None
        account_id = change.account.account_id
        balance_minor, _ = change.lock_balance()
        cached = self._cache.accounts.balance(account_id)
        if cached is None:
            raise _Cold
        left = Remainder(
            balance_minor=balance_minor,
            held_minor=cached.funds.held_minor,
            pending_payments=self._quiet.count_pending(account_id),
            open_authorizations=change.open_authorizations(),
        )
        return None if left.is_empty else account_not_empty(account_id, left)


def _refuse_unpushed(account_id: str) -> Refusal:
    return Refusal(
        RefusalCode.OUTCOME_UNKNOWN,
        "The change is in the books, but the cache could not be told of it just now; it will be within seconds. "
        "Repeat the request to be sure: a change made twice is made once.",
        {"account_id": account_id},
    )


QUIET_PATIENCE_S = 5.0
"""How long a change waits for payments on their way to the books: they take milliseconds while a worker runs."""

QUIET_LOOK_S = 0.01


class Quiet:
    """Looks through all outboxes for what touches an account."""

    def __init__(self, cache: Cache, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._cache = cache
        self._monotonic = monotonic
        self._sleep = sleep

    def wait(self, account_id: str) -> bool:
        """Wait until no intent in any outbox touches the account; returns whether that was so in time."""
        give_up = self._monotonic() + QUIET_PATIENCE_S
        while self.count_pending(account_id):
            if self._monotonic() >= give_up:
                return False
            self._sleep(QUIET_LOOK_S)
        return True

    def count_pending(self, account_id: str) -> int:
        """How many intents on their way to the books touch the account."""
        return sum(self._count_in(partition, account_id) for partition in range(self._cache.partitions))

    def _count_in(self, partition: int, account_id: str) -> int:
        return sum(
            account_id in {queued.intent.guarded_account_id, *(leg.account_id for leg in queued.intent.legs)}
            for page in self._cache.outbox.pages(partition)
            for queued in page
        )
