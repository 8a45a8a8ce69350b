"""Builders of the refusals that concern API keys: what they may reach, how often, and their administration."""

from collections.abc import Collection

from app.domain.rate_limits import Allowance, RateLimit
from app.domain.refusals import Refusal, RefusalCode


def entity_out_of_reach(entities: Collection[str] | None) -> Refusal:
    """Something to be made for entities that the key may not act for; whether they exist makes no difference."""
    named = "every entity" if entities is None else ", ".join(repr(one) for one in sorted(entities))
    figures = {} if entities is None else {"entities": sorted(entities)}
    return Refusal(RefusalCode.FORBIDDEN, f"This key may not act for {named}.", figures)


def whole_installation_only() -> Refusal:
    """A resource of the whole installation, asked for by a key of some entities."""
    detail = "This is of the whole installation, and this key may act for some entities only."
    return Refusal(RefusalCode.FORBIDDEN, detail)


def rate_limited(limit: RateLimit, left: Allowance) -> Refusal:
    """A request beyond the key's rate limit."""
    return Refusal(
        RefusalCode.RATE_LIMITED,
        f"This key may make {limit.per_second} requests a second, and {limit.burst} at once; nothing was done. "
        f"Retry in {left.retry_after_s} s.",
        {"requests_per_second": limit.per_second, "burst": limit.burst, "retry_after_s": left.retry_after_s},
    )


def no_administrator() -> Refusal:
    """The ledger does not take the key that asks for an administrator's: it has ended just now."""
    return Refusal(RefusalCode.UNAUTHENTICATED, "The key that asks is valid no more.")


def no_administrating_person() -> Refusal:
    """The ledger does not take a person for an administrator of keys."""
    return Refusal(
        RefusalCode.FORBIDDEN,
        "The ledger does not take you for an administrator of keys. Your role was changed, or your password was set by "
        "an earlier version: ask for a new invitation, and set it again.",
    )


def key_not_found(key_id: str) -> Refusal:
    """An API key that does not exist, or that the caller may not see."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no key {key_id!r}.", {"key_id": key_id})


def key_not_rotatable(key_id: str, *, has_successor: bool) -> Refusal:
    """A key that has a successor, or that has ended."""
    why = "has a successor; rotate that one" if has_successor else "has ended; create another one"
    return Refusal(RefusalCode.KEY_NOT_ROTATABLE, f"Key {key_id!r} {why}.", {"key_id": key_id})
