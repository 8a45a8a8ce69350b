"""API keys: creating and checking them, and the scopes that they grant."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from app.domain.errors import LedgerUnavailable

if TYPE_CHECKING:
    from app.ledger.api_keys import LedgerApiKeys

KEY_PREFIX = "hf"
RECHECK_S = 5.0
"""How long a checked key is trusted before the ledger is asked again.

A revocation is spread by the cache and takes effect at once; should its message be lost, it takes effect within this
time.
"""

LONGEST_TRUST_S = 600.0
"""How long a checked key stays trusted while the ledger is out of reach: payments do not need it, and most outages are
over by then. A key that nobody has confirmed for longer is asked about, however long the outage."""

CHECK_DEADLINE_S = 2.0
"""Far more than a look-up takes, and less than a client's patience."""

CHECKS_AT_ONCE = 4
"""A key is looked up once in RECHECK_S, so a few threads are enough."""

REMEMBERED_KEYS = 10_000


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    PAYMENTS_WRITE = "payments:write"
    ACCOUNTS_WRITE = "accounts:write"
    JOURNALS_WRITE = "journals:write"
    ADMIN = "admin"


@dataclass(slots=True, frozen=True)
class Caller:
    """Who asks: the key's id, which the ledger records as the actor, and its scopes."""

    key_id: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope. `admin` includes every scope, and `accounts:write` includes `journals:write`."""
        if scope is Scope.JOURNALS_WRITE and Scope.ACCOUNTS_WRITE in self.scopes:
            return True
        return scope in self.scopes or Scope.ADMIN in self.scopes


def create_key(ledger: LedgerApiKeys, name: str, scopes: list[Scope], actor: str) -> str:
    """Create a key and return its only copy: `hf_<key id>_<secret>`."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    ledger.add(key_id, name, _hash(secret), [scope.value for scope in scopes], actor)
    return f"{KEY_PREFIX}_{key_id}_{secret}"


@dataclass(slots=True, frozen=True)
class _Checked:
    """A key that the ledger has confirmed, by the process's clock in seconds."""

    caller: Caller
    recheck_at: float
    confirmed_at: float


class Gatekeeper:
    """Checks keys, and trusts each key that it has checked for a few seconds."""

    def __init__(self, ledger: LedgerApiKeys, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._checked: dict[str, _Checked] = {}
        self._revoked: set[str] = set()
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="key-check")

    def remembers(self, key: str) -> bool:
        """Whether `caller` answers this key at once, without a look into the ledger."""
        remembered = self._checked.get(key)
        return remembered is not None and remembered.recheck_at > self._monotonic()

    def caller(self, key: str) -> Caller | None:
        """The caller whom a key stands for; None if the key is unknown, wrong or revoked.

        Raises LedgerUnavailable if the ledger must be asked and does not answer.
        """
        caller = self._confirmed(key)
        # Looked at last: the key may have been revoked while the ledger was being asked.
        return None if caller is None or caller.key_id in self._revoked else caller

    def revoke(self, key_ids: Iterable[str]) -> None:
        """Trust these keys no more. A revoked key never comes back, so their ids are kept."""
        self._revoked.update(key_ids)

    def _confirmed(self, key: str) -> Caller | None:
        """The caller of a key as the ledger has confirmed it, now or lately enough."""
        now = self._monotonic()
        remembered = self._checked.get(key)
        if remembered is not None and remembered.recheck_at > now:
            return remembered.caller
        confirmed_at = now
        try:
            caller = self._check_in_time(key)
        except LedgerUnavailable:
            if remembered is None or now - remembered.confirmed_at > LONGEST_TRUST_S:
                raise
            caller, confirmed_at = remembered.caller, remembered.confirmed_at
        if caller is None:
            self._checked.pop(key, None)
        else:
            if len(self._checked) >= REMEMBERED_KEYS:
                self._checked.clear()
            self._checked[key] = _Checked(caller, now + RECHECK_S, confirmed_at)
        return caller

    def _check_in_time(self, key: str) -> Caller | None:
        """Ask the ledger, but not for ever: a database that hangs gives neither answer nor error."""
        try:
            return self._checks.submit(self._check, key).result(CHECK_DEADLINE_S)
        except TimeoutError as error:
            raise LedgerUnavailable(f"the ledger did not check a key within {CHECK_DEADLINE_S} s") from error

    def _check(self, key: str) -> Caller | None:
        prefix, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        if prefix != KEY_PREFIX or not key_id.isalnum() or not secret:
            return None
        stored = self._ledger.get(key_id)
        if stored is None or stored.revoked_at is not None:
            return None
        if not hmac.compare_digest(stored.secret_hash, _hash(secret)):
            return None
        return Caller(stored.key_id, stored.scopes)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
