"""Holds: funds set aside by an authorization until it is captured, voided, or expires.

authorized → captured | voided | expired. The script decides which comes first, and the books decide it again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.domain.payment import Leg
from app.domain.refusals import Refusal, RefusalCode


class AuthorizationState(StrEnum):
    """Where an authorization stands."""

    AUTHORIZED = "authorized"
    CAPTURED = "captured"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(slots=True)
class Authorization:
    """An authorization as the books keep it; amounts in minor units. `concluded_by` is the intent that ended it."""

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
        """The same authorization as the cache has concluded it, ahead of the books."""
        return replace(self, state=state, captured_minor=captured_minor or None)


_CONCLUDED = {
    AuthorizationState.CAPTURED: RefusalCode.HOLD_ALREADY_CAPTURED,
    AuthorizationState.VOIDED: RefusalCode.HOLD_ALREADY_VOIDED,
    AuthorizationState.EXPIRED: RefusalCode.HOLD_EXPIRED,
}


def refuse_concluded(payment_id: str, state: AuthorizationState) -> Refusal:
    """The refusal of whoever comes second."""
    return Refusal(
        _CONCLUDED[state],
        f"The authorization {payment_id} is {state.value} already.",
        {"payment_id": payment_id, "state": state.value},
    )


def authorization_not_found(payment_id: str) -> Refusal:
    """The refusal where there is no authorization to conclude."""
    return Refusal(
        RefusalCode.HOLD_NOT_FOUND,
        f"Payment {payment_id!r} is not an authorization, or there is none of this id.",
        {"payment_id": payment_id},
    )
