"""API keys: what a new one is to be, a key as it is presented, and the outcomes of administering keys."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.domain.rate_limits import RateLimit

KEY_PREFIX = "hf"


@dataclass(slots=True, frozen=True)
class NewKey:
    """A key to make. Without `entities` it may act for all of them; without `expires_at` it does not expire."""

    name: str
    scopes: Sequence[str]
    entities: Collection[str] | None = None
    expires_at: datetime | None = None
    limit: RateLimit | None = None


@dataclass(slots=True, frozen=True)
class PresentedKey:
    """A key as a request presents it: `hf_<key id>_<secret>`."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class PresentedPerson:
    """A person who administers keys, with the proof that follows from the password alone; the ledger checks it."""

    user_id: str
    proof: bytes = field(repr=False)


def parse_key(key: str) -> PresentedKey | None:
    """The parts of a key; None if the text cannot be one."""
    prefix, _, rest = key.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != KEY_PREFIX or not key_id.isalnum() or not secret:
        return None
    return PresentedKey(key_id, secret)


class KeyOutcome(StrEnum):
    """What became of a wish to make, revoke or rotate a key, as the functions of the ledger answer it."""

    MADE = "made"
    REVOKED = "revoked"
    ROTATED = "rotated"
    NOT_ADMINISTRATOR = "not_administrator"
    """The key that asks has no right to administer keys, or has it no more."""
    BEYOND_ENTITIES = "beyond_entities"
    """The new key would reach entities that the key that asks does not."""
    UNKNOWN = "unknown"
    """There is no such key, or the caller may not see it."""
    ENDED = "ended"
    """The key was revoked or has expired."""
    ROTATED_BEFORE = "rotated_before"
    """The key has a successor."""
