"""Signing in: passwords, second factors, accounts of an organisation, sessions, and the wait after failed tries."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import pyotp
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, hash_secret_raw

from app.domain.api_keys import PresentedPerson
from app.domain.users import (
    FREE_TRIES,
    LONGEST_PASSWORD,
    SESSION_LASTS,
    Session,
    SignInMethod,
    SignInTry,
    User,
    refuse_password,
)
from app.services.access.users import hash_of

if TYPE_CHECKING:
    from app.ledger.users import LedgerSessions, LedgerUsers

SEEN_EVERY = timedelta(minutes=1)
"""A session that is in use is noted once in this time, and not with every page."""

HASHES_AT_ONCE = 2
"""A hash takes a core and 64 MiB for a twentieth of a second: tries to sign in must not crowd out payments."""

TOTP_STEP_S = 30
PROOF_BYTES = 32
LONGEST_CLIENT = 200


@dataclass(slots=True, frozen=True)
class SignedIn:
    """A session that has begun, and the only copy of its token."""

    user: User
    token: str


@dataclass(slots=True, frozen=True)
class NotSignedIn:
    """A try that failed. It does not say whether name, password or code was wrong."""

    tries: int
    next_try_at: datetime
    """When the next try may come."""


class SignIn:
    """Signs people in and out."""

    def __init__(self, users: LedgerUsers, sessions: LedgerSessions, now: Callable[[], datetime]) -> None:
        self._users = users
        self._sessions = sessions
        self._now = now
        self._hasher = PasswordHasher()
        self._hashing = BoundedSemaphore(HASHES_AT_ONCE)
        self._nobodys_hash: str | None = None

    # Signing in

    def by_password(self, name: str, password: str, code: str, client: str) -> SignedIn | NotSignedIn:
        """Sign in with a name, a password, and a code if the person has a second factor."""
        name_hash = hash_of(name)
        tried = self._sessions.begin_try(name_hash, self._now)
        if not tried.is_admitted:
            return NotSignedIn(tried.failures, tried.next_try_at)
        user = self._users.get(name)
        is_right = self._is_password(user, password)
        if user is None or not is_right or user.disabled_at is not None or not self._is_second_factor(user, code):
            return self._failed(user, tried)
        self._sessions.forget_tries(name_hash)
        return self._begin(user, SignInMethod.PASSWORD, client)

    def actor_of(self, name: str) -> str | None:
        """Under whose name somebody has tried to sign in; None if nobody has it: it may be a password, misplaced."""
        user = self._users.get(name)
        return None if user is None else user.actor

    def by_organisation(self, issuer: str, subject: str, client: str) -> SignedIn | None:
        """Sign in the person whom the organisation vouches for; None if no user has this account."""
        user = self._users.by_organisation(issuer, subject)
        if user is None or user.disabled_at is not None:
            return None
        return self._begin(user, SignInMethod.ORGANISATION, client)

    def _begin(self, user: User, method: SignInMethod, client: str) -> SignedIn:
        token = secrets.token_urlsafe(32)
        expires_at = self._now() + SESSION_LASTS
        self._sessions.begin(user, hash_of(token), method, client[:LONGEST_CLIENT], expires_at)
        return SignedIn(user, token)

    def _failed(self, user: User | None, tried: SignInTry) -> NotSignedIn:
        if user is not None and tried.failures > FREE_TRIES:
            self._sessions.record_lock_out(user, tried.failures)
        return NotSignedIn(tried.failures, tried.next_try_at)

    def _is_password(self, user: User | None, password: str) -> bool:
        """Whether it is the user's. A hash is computed in any case, so that time does not tell who exists."""
        known = user.password_hash if user is not None else None
        with self._hashing:
            if self._nobodys_hash is None:
                self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe(16))
            try:
                return self._hasher.verify(known or self._nobodys_hash, password[:LONGEST_PASSWORD]) and bool(known)
            except (VerificationError, InvalidHashError):
                return False

    def prove(self, user: User, password: str) -> PresentedPerson | NotSignedIn:
        """What the ledger checks before this person administers keys; the password is asked for again, and counted."""
        name_hash = hash_of(user.user_id)
        tried = self._sessions.begin_try(name_hash, self._now)
        if not tried.is_admitted:
            return NotSignedIn(tried.failures, tried.next_try_at)
        if user.password_hash is None or not self._is_password(user, password):
            return self._failed(user, tried)
        self._sessions.forget_tries(name_hash)
        with self._hashing:
            return PresentedPerson(user.user_id, self._proof(password, user.password_hash))

    def _proof(self, password: str, password_hash: str) -> bytes:
        """A second slow hash of the password, whose salt follows from that of the first; no hash gives it."""
        salt = sha256(b"holdfast keys " + password_hash.split("$")[4].encode()).digest()[:16]
        cost = extract_parameters(password_hash)
        return hash_secret_raw(
            password[:LONGEST_PASSWORD].encode(),
            salt,
            cost.time_cost,
            cost.memory_cost,
            cost.parallelism,
            PROOF_BYTES,
            Type.ID,
        )

    # Second factors

    def _is_second_factor(self, user: User, code: str) -> bool:
        if user.totp_secret is None:
            return True
        counter = self._counter_of(user.totp_secret, code)
        return counter is not None and self._users.use_totp(user.user_id, counter)

    def _counter_of(self, secret: str, code: str) -> int | None:
        """The time step whose code this is: the present one or a neighbour, for clocks differ; None if of none."""
        totp = pyotp.TOTP(secret)
        now = int(self._now().timestamp())
        typed = "".join(code.split())
        for step in (0, -1, 1):
            moment = now + step * TOTP_STEP_S
            if typed.isascii() and pyotp.utils.strings_equal(typed, totp.at(moment)):
                return moment // TOTP_STEP_S
        return None

    def new_second_factor(self) -> str:
        """A new secret; nothing is kept yet."""
        return pyotp.random_base32()

    def address_of(self, user: User, secret: str) -> str:
        """The address that an authenticator reads."""
        return pyotp.TOTP(secret).provisioning_uri(name=user.user_id, issuer_name="Holdfast")

    def begin_second_factor(self, user: User, secret: str, code: str) -> bool:
        """Keep a second factor once the person has shown that it works; returns whether they have."""
        counter = self._counter_of(secret, code)
        if counter is None:
            return False
        self._users.set_totp(user, secret, counter)
        return True

    def end_second_factor(self, user: User, password: str) -> bool:
        """Forget a second factor; returns whether the password was right."""
        if not self._is_password(user, password):
            return False
        self._users.set_totp(user, None, user.totp_counter)
        return True

    # Invitations

    def invited(self, token: str) -> User | None:
        """Whose invitation this is; None if there is none, or it has expired."""
        user = self._users.by_invitation(hash_of(token))
        if user is None or user.invitation_expires_at is None or user.invitation_expires_at <= self._now():
            return None
        return user

    def set_password(self, user: User, password: str) -> str | None:
        """Take up an invitation with a password; returns why it will not do, or None when it is set."""
        refusal = refuse_password(password, user.user_id)
        if refusal is not None:
            return refusal
        with self._hashing:
            password_hash = self._hasher.hash(password)
            key_proof = sha256(self._proof(password, password_hash)).digest()
        taken = self._users.take_up(user, password_hash=password_hash, key_proof=key_proof)
        return None if taken else "This invitation was used meanwhile."

    def join_organisation(self, user: User, issuer: str, subject: str) -> bool:
        """Take up an invitation with an account of the organisation; False if it is gone, or the account is taken."""
        owner = self._users.by_organisation(issuer, subject)
        if owner is not None and owner.user_id != user.user_id:
            return False
        return self._users.take_up(user, organisation=(issuer, subject))

    # Sessions

    def session(self, token: str) -> Session | None:
        """The open session of a token; None if it has ended."""
        session = self._sessions.get(hash_of(token))
        now = self._now()
        if session is None or session.has_ended(now):
            return None
        if now - session.seen_at > SEEN_EVERY:
            self._sessions.see(session.session_hash)
        return session

    def sessions(self, user: User) -> list[Session]:
        """Where a person is signed in, the latest first."""
        now = self._now()
        return [session for session in self._sessions.of(user.user_id) if not session.has_ended(now)]

    def sign_out(self, session: Session) -> None:
        """End this session."""
        self._sessions.end(session)

    def sign_out_everywhere(self, user: User) -> int:
        """End all sessions of a person; returns how many there were."""
        return self._sessions.end_all(user)
