"""Authorizations: payments whose funds are held until they are captured, voided, or expire.

authorized → captured | voided | expired. The cache decides which end comes first, and the ledger checks it again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.domain.payment import Leg, OutboxPosition
from app.domain.payment_checks import DEFAULT_EXPIRY_S
from app.domain.splits import allocate
from app.domain.timestamps import from_milliseconds

if TYPE_CHECKING:
    from app.domain.ledger_rows import QueuedIntent


class AuthorizationState(StrEnum):
    """Where an authorization stands."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(slots=True, frozen=True)
class OpenAuthorizations:
    """What the open authorizations of an account hold, in minor units; `is_due`: one of them is past its time."""

    held_minor: int
    is_due: bool


@dataclass(slots=True)
class Authorization:
    """An authorization as the ledger keeps it; amounts in minor units. `concluded_by` is the intent that ended it."""

    payment_id: str
    entity_id: str
    external_id: str
    fingerprint: str
    guarded_account_id: str
    hold_minor: int
    currency_code: str
    legs: list[Leg]
    state: AuthorizationState
    expires_at: datetime
    captured_minor: int | None
    concluded_by: str | None
    actor: str
    description: str | None
    effective_at: datetime | None
    metadata: dict[str, Any] | None
    accepted_at: datetime
    concluded_at: datetime | None
    concluding_actor: str = ""

    @property
    def amount_minor(self) -> int:
        """What was authorized in all."""
        return self.legs[0].amount_minor

    def captured_legs(self, captured_minor: int) -> list[Leg]:
        """The legs of a capture. A partial one takes every destination's part in proportion."""
        source, *destinations = self.legs
        parts = allocate(captured_minor, [-leg.amount_minor for leg in destinations])
        credited = zip(destinations, parts, strict=True)
        return [Leg(source.account_id, captured_minor), *(Leg(leg.account_id, -part) for leg, part in credited if part)]

    @property
    def takes_effect_at(self) -> datetime:
        """When it takes effect: as asked for, else when it was captured; until then, when it was accepted."""
        if self.effective_at is not None:
            return self.effective_at
        is_captured = self.state is AuthorizationState.CAPTURED
        return (self.concluded_at if is_captured else None) or self.accepted_at

    def concluded_as(self, state: AuthorizationState, captured_minor: int, end: OutboxPosition) -> Authorization:
        """The same authorization as the cache has concluded it, by the intent at `end`, before the ledger has."""
        return replace(
            self,
            state=state,
            captured_minor=captured_minor or None,
            concluded_by=end.payment_id,
            concluded_at=from_milliseconds(end.stamped_ms),
        )


def authorization_of(queued: QueuedIntent, now_ms: int | None = None) -> Authorization:
    """The authorization that an intent of this kind becomes. It expires by the clock of the cache that accepted it.

    Without `now_ms` its times are those of its stream id, until the ledger has it.
    """
    intent, position = queued.intent, queued.outbox_position
    accepted_at_ms = position.stamped_ms if now_ms is None else position.accepted_at_ms(now_ms)
    return Authorization(
        payment_id=queued.outbox_position.payment_id,
        entity_id=intent.entity_id,
        external_id=intent.external_id,
        fingerprint=intent.fingerprint,
        guarded_account_id=intent.guarded_account_id,
        hold_minor=intent.hold_minor,
        currency_code=intent.currency_code,
        legs=intent.legs,
        state=AuthorizationState.AUTHORIZED,
        expires_at=from_milliseconds(accepted_at_ms + 1000 * (intent.expires_in_s or DEFAULT_EXPIRY_S)),
        captured_minor=None,
        concluded_by=None,
        actor=intent.actor,
        description=intent.description,
        effective_at=intent.effective_at,
        metadata=intent.metadata,
        accepted_at=from_milliseconds(accepted_at_ms),
        concluded_at=None,
    )
