"""Authorizations: payments whose funds are held until they are captured, voided, or expire.

authorized → captured | voided | expired. The cache decides which end comes first, and the ledger checks it again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.payment import Leg


class AuthorizationState(StrEnum):
    """Where an authorization stands."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


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

    def concluded_as(self, state: AuthorizationState, captured_minor: int) -> "Authorization":
        """The same authorization as the cache has concluded it, before the ledger has."""
        return replace(self, state=state, captured_minor=captured_minor or None)
