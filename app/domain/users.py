"""People who use the pages: their roles, how they sign in, and how long they wait after failed tries."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.actors import user_actor


class Role(StrEnum):
    """What a person may do. Each role may do all that those before it may."""

    VIEWER = "viewer"
    """Reads everything."""
    ACCOUNTANT = "accountant"
    """Enters journals and works on breaks."""
    CONTROLLER = "controller"
    """Approves journals, changes accounts, repairs the cache, signs off."""
    ADMIN = "admin"
    """Looks after keys."""

    def may_act_as(self, other: "Role") -> bool:
        """Whether this role includes another one."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class SignInMethod(StrEnum):
    """How a session began."""

    PASSWORD = "password"  # noqa: S105 - the name of a method
    ORGANISATION = "organisation"


USER_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
"""Names are typed, shown in lists and recorded as `user:NAME`: plain letters read the same everywhere."""

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1_000
"""A bound for what is hashed; no phrase that a person remembers is longer."""

INVITATION_LASTS = timedelta(hours=48)
SESSION_LASTS = timedelta(hours=12)
"""A working day, whatever is done meanwhile."""
SESSION_RESTS = timedelta(hours=1)
"""A session that nobody uses for so long ends."""


@dataclass(slots=True, frozen=True)
class User:
    """A person as the ledger keeps them, with the hashes by which they are recognized."""

    user_id: str
    role: Role
    password_hash: str | None
    totp_secret: str | None
    totp_counter: int
    oidc_subject: str | None
    invitation_hash: bytes | None
    invitation_expires_at: datetime | None
    created_by: str
    created_at: datetime
    disabled_at: datetime | None

    @property
    def actor(self) -> str:
        """How the audit trail names them."""
        return user_actor(self.user_id)

    @property
    def state(self) -> str:
        """`disabled`, `active`, or `invited` while they have no way to sign in."""
        if self.disabled_at is not None:
            return "disabled"
        return "active" if self.password_hash or self.oidc_subject else "invited"


@dataclass(slots=True, frozen=True)
class Session:
    """Where somebody is signed in. `client` is what the browser calls itself."""

    user: User
    session_hash: bytes
    method: SignInMethod
    client: str
    begun_at: datetime
    seen_at: datetime
    expires_at: datetime

    def has_ended(self, now: datetime) -> bool:
        """Whether it is too old, or has rested for too long."""
        return now >= self.expires_at or now >= self.seen_at + SESSION_RESTS


FREE_TRIES = 2
"""Anybody mistypes twice."""
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=15)
"""Four tries an hour find no password, and the person who was meant can wait for so long."""
FORGOTTEN_AFTER = timedelta(days=1)


def wait_after(failures: int) -> timedelta:
    """How long the next try must wait after so many failures in a row: nothing, then twice as long each time."""
    if failures <= FREE_TRIES:
        return timedelta()
    doublings = min(failures - FREE_TRIES - 1, 16)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


@dataclass(slots=True, frozen=True)
class SignInTry:
    """A try under a name: the failures with it, when the next one may come, and whether this one was in time."""

    failures: int
    next_try_at: datetime
    is_admitted: bool


def is_user_id(text: str) -> bool:
    """Whether a text can be a user's name."""
    return USER_ID.fullmatch(text) is not None


def refuse_password(password: str, user_id: str) -> str | None:
    """Why a password will not do; None if it will. Length is what counts, and no rule makes people write it down."""
    if len(password) < SHORTEST_PASSWORD:
        return f"The password needs at least {SHORTEST_PASSWORD} characters; a few words that only you combine do."
    if len(password) > LONGEST_PASSWORD:
        return f"The password may have at most {LONGEST_PASSWORD} characters."
    if user_id in password.lower() or len(set(password)) < 5:
        return "The password is too easy to guess: it holds your name, or repeats a few characters."
    return None
