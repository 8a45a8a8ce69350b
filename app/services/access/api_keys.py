"""API keys: creating and checking them, and the scopes that they grant."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any

from app.domain.api_keys import KEY_PREFIX, NewKey, parse_key
from app.domain.errors import Fault, LedgerUnavailable
from app.domain.rate_limits import RateLimit

if TYPE_CHECKING:
    from app.ledger.api_keys import LedgerApiKeys

log = logging.getLogger(__name__)

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

USE_NOTED_S = 60.0
"""How often a process notes that a key is in use: a write for each request would cost more than the request."""


class Scope(StrEnum):
    """What a key may do. A route asks for one scope; a key may have a bundle of them, see BUNDLES."""

    READ = "read"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    PAYMENTS_READ = "payments:read"
    PAYMENTS_WRITE = "payments:write"
    JOURNALS_WRITE = "journals:write"
    REPORTS_READ = "reports:read"
    AUDIT_READ = "audit:read"
    EVENTS_READ = "events:read"
    WEBHOOKS_WRITE = "webhooks:write"
    ADMIN = "admin"


BUNDLES: dict[str, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.ACCOUNTS_READ, Scope.PAYMENTS_READ, Scope.REPORTS_READ, Scope.EVENTS_READ}),
    Scope.ACCOUNTS_WRITE: frozenset({Scope.JOURNALS_WRITE}),
    Scope.ADMIN: frozenset(Scope),
}
"""Scopes that include others. `read` does not include the audit, which shows what other keys have asked."""


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """These scopes and all that they include."""
    given = frozenset(scopes)
    return given.union(*(BUNDLES.get(scope, ()) for scope in given))


@dataclass(slots=True, frozen=True)
class Caller:
    """Who asks: the key's id, which the ledger records as the actor, and what the key may do.

    `scopes` are all that were granted. `entities` are those that the key may act for; None is all of them.
    """

    key_id: str
    scopes: frozenset[str]
    entities: frozenset[str] | None = None
    limit: RateLimit | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the key has a scope."""
        return scope in self.scopes


def new_secret() -> tuple[str, str, bytes]:
    """The id of a new key, the whole key, whose only copy this is, and the hash of its secret."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return key_id, f"{KEY_PREFIX}_{key_id}_{secret}", _hash(secret)


def create_key(ledger: LedgerApiKeys, name: str, scopes: list[Scope], actor: str, **more: Any) -> str:
    """Create a key with the owner's rights and return its only copy; `more` are the further fields of `NewKey`."""
    key_id, key, secret_hash = new_secret()
    ledger.add(key_id, secret_hash, NewKey(name, [scope.value for scope in scopes], **more), actor)
    return key


@dataclass(slots=True, frozen=True)
class _Checked:
    """A key that the ledger has confirmed, by the process's clock in seconds.

    The ledger is not asked again before `recheck_at`, which is not after `ends_at`, when the key expires.
    """

    caller: Caller
    recheck_at: float
    confirmed_at: float
    ends_at: float


class Gatekeeper:
    """Checks keys, and trusts each key that it has checked for a few seconds."""

    def __init__(self, ledger: LedgerApiKeys, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._checked: dict[str, _Checked] = {}
        self._revoked: set[str] = set()
        self._noted: dict[str, float] = {}
        self._checks = ThreadPoolExecutor(CHECKS_AT_ONCE, thread_name_prefix="key-check")
        self._uses = ThreadPoolExecutor(1, thread_name_prefix="key-use")

    def admits_at_once(self, key: str) -> bool:
        """Whether nothing need be asked about this key: it was checked lately, and its requests are not counted."""
        remembered = self._checked.get(key)
        return remembered is not None and remembered.recheck_at > self._monotonic() and remembered.caller.limit is None

    def caller(self, key: str) -> Caller | None:
        """The caller whom a key stands for; None if the key is unknown, wrong, revoked or expired.

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
        try:
            checked = self._check_in_time(key, now)
        except LedgerUnavailable:
            if remembered is None or now - remembered.confirmed_at > LONGEST_TRUST_S:
                raise
            checked = _trusted_longer(remembered, now)
        if checked is None:
            self._checked.pop(key, None)
            return None
        if len(self._checked) >= REMEMBERED_KEYS:
            self._checked.clear()
        self._checked[key] = checked
        return checked.caller

    def _check_in_time(self, key: str, now: float) -> _Checked | None:
        """Ask the ledger, but not for ever: a database that hangs gives neither answer nor error."""
        try:
            return self._checks.submit(self._check, key, now).result(CHECK_DEADLINE_S)
        except TimeoutError as error:
            raise LedgerUnavailable(f"the ledger did not check a key within {CHECK_DEADLINE_S} s") from error

    def _check(self, key: str, now: float) -> _Checked | None:
        presented = parse_key(key)
        stored = None if presented is None else self._ledger.get(presented.key_id)
        if presented is None or stored is None or stored.revoked_at is not None:
            return None
        if not hmac.compare_digest(stored.secret_hash, _hash(presented.secret)):
            return None
        expires_in_s = inf if stored.expires_in_s is None else stored.expires_in_s
        if expires_in_s <= 0:
            return None
        self._note_use(stored.key_id, now)
        caller = Caller(stored.key_id, granted(stored.scopes), stored.entities, stored.limit)
        return _Checked(caller, _recheck_at(now, now + expires_in_s), now, now + expires_in_s)

    def _note_use(self, key_id: str, now: float) -> None:
        """Have the ledger note that a key is in use, unless it was lately; the request does not wait for that."""
        if now - self._noted.get(key_id, -inf) >= USE_NOTED_S:
            self._noted[key_id] = now
            self._uses.submit(self._write_use, key_id)

    def _write_use(self, key_id: str) -> None:
        try:
            self._ledger.note_use(key_id)
        except Fault as fault:
            log.warning("the use of key %s could not be noted: %s", key_id, fault)


def _trusted_longer(remembered: _Checked, now: float) -> _Checked | None:
    """A key that the ledger cannot be asked about now; None if it has expired."""
    if remembered.ends_at <= now:
        return None
    return replace(remembered, recheck_at=_recheck_at(now, remembered.ends_at))


def _recheck_at(now: float, ends_at: float) -> float:
    return min(now + RECHECK_S, ends_at)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
