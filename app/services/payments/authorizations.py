"""Ending authorizations: capturing, voiding and expiring them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.domain.authorizations import Authorization, AuthorizationState, authorization_of
from app.domain.errors import ConcurrencyRetryExhausted, Fault
from app.domain.origin import note_recorded, travelling_origin
from app.domain.payment import Intent, Kind, OutboxPosition, parse_payment_id
from app.domain.payment_refusals import (
    amount_not_positive,
    authorization_concluded,
    authorization_not_due,
    authorization_not_found,
    capture_exceeds_authorization,
    ledger_backlogged,
    posting_retries_exhausted,
)
from app.domain.refusals import Refusal
from app.domain.reservations import ConcludeCode, ConcludeReply, Conclusion, Stale
from app.domain.timestamps import to_milliseconds
from app.services.payments.decide import Decider, NotReady
from app.services.payments.durable_wait import Answer, DurableWait
from app.services.payments.outcomes import Outcomes

if TYPE_CHECKING:
    from app.cache.cache import Cache
    from app.ledger.transactions import LedgerAuthorizations
    from app.services.accounts.directory import DirectorySnapshot


log = logging.getLogger(__name__)

_KIND = {
    AuthorizationState.CAPTURED: Kind.CAPTURE,
    AuthorizationState.VOIDED: Kind.VOID,
    AuthorizationState.EXPIRED: Kind.EXPIRY,
}

EXPIRED_AT_ONCE = 5_000
"""Authorizations in one sweep. The ledger lists an authorization as due until its expiry is posted, so the limit is far
above what a drain leaves pending: those listed again never crowd out the others."""

CLOCK = "clock"
"""The actor recorded for an expiry."""


@dataclass(slots=True)
class Concluded:
    """An authorization that has ended, with the outbox position of the intent that ended it."""

    authorization: Authorization
    outbox_position: OutboxPosition
    replayed: bool
    in_ledger: bool = False
    turned_away: bool = False
    """The caller asked to wait for the ledger, but the waiting room was full."""


class Authorizations:
    """Ends authorizations in the cache; the ledger follows as with every payment."""

    def __init__(
        self,
        cache: Cache,
        ledger: LedgerAuthorizations,
        decider: Decider,
        outcomes: Outcomes,
        durable_wait: DurableWait,
        wake: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._ledger = ledger
        self._decider = decider
        self._outcomes = outcomes
        self._durable_wait = durable_wait
        self._wake = wake

    def capture(self, payment_id: str, amount_minor: int | None, actor: str) -> Concluded | Refusal:
        """Capture all or part of an authorization, once; the rest is released. Minor units."""
        authorization = self.find(payment_id)
        if authorization is None:
            return authorization_not_found(payment_id)
        amount = authorization.amount_minor if amount_minor is None else amount_minor
        if amount <= 0:
            return amount_not_positive(amount)
        if amount > authorization.amount_minor:
            return capture_exceeds_authorization(payment_id, amount, authorization.amount_minor)
        return _noted(self._conclude(authorization, AuthorizationState.CAPTURED, amount, actor))

    def void(self, payment_id: str, actor: str) -> Concluded | Refusal:
        """Release an authorization."""
        authorization = self.find(payment_id)
        return (
            authorization_not_found(payment_id)
            if authorization is None
            else _noted(self._conclude(authorization, AuthorizationState.VOIDED, 0, actor))
        )

    def expire_due(self, now: datetime) -> int:
        """Expire the authorizations that are due; returns how many. The cache's clock has the last word."""
        released = 0
        for authorization in self._ledger.due(now, EXPIRED_AT_ONCE):
            try:
                outcome = self._conclude(authorization, AuthorizationState.EXPIRED, 0, CLOCK)
            except ConcurrencyRetryExhausted:
                continue  # the next sweep finds it again
            released += isinstance(outcome, Concluded) and not outcome.replayed
        return released

    def release_due(self, account_ids: Collection[str]) -> int:
        """Release what is held on these accounts past its time; returns how many authorizations. None is an answer.

        The sweep does the same within a second or two. What has not reached the ledger yet waits for it.
        """
        released = 0
        try:
            for authorization in self._ledger.due_on(account_ids, EXPIRED_AT_ONCE):
                outcome = self._conclude(authorization, AuthorizationState.EXPIRED, 0, CLOCK)
                released += isinstance(outcome, Concluded) and not outcome.replayed
        except Fault as fault:
            log.warning("what is held past its time on %s is not released yet: %s", sorted(account_ids), fault)
        return released

    def wait(self, concluded: Concluded, seconds: float) -> Concluded | Refusal:
        """Wait until the ledger has the conclusion, or `seconds` are over."""
        answer = self._durable_wait.wait(concluded.outbox_position, seconds)
        concluded.turned_away = answer is Answer.FULL
        authorization = concluded.authorization
        if answer is Answer.EXHAUSTED:
            return posting_retries_exhausted(authorization.payment_id, authorization.state.value)
        if answer in (Answer.POSTED, Answer.CHECK):
            stored = self._ledger.get(authorization.payment_id)
            if stored is not None and stored.state not in (AuthorizationState.AUTHORIZED, authorization.state):
                return self._outcomes.rejection(concluded.outbox_position, authorization, replayed=concluded.replayed)
            concluded.in_ledger = stored is not None and stored.state is not AuthorizationState.AUTHORIZED
        return concluded

    def find(self, payment_id: str) -> Authorization | None:
        """An authorization as it was accepted: the outbox is read first, the ledger second."""
        outbox_position = parse_payment_id(payment_id)
        if outbox_position is None:
            return None
        queued = self._cache.outbox.pending(outbox_position)
        if queued is not None:
            return authorization_of(queued) if queued.intent.kind == Kind.AUTHORIZATION else None
        return self._ledger.get(payment_id)

    def _conclude(
        self, authorization: Authorization, state: AuthorizationState, amount_minor: int, actor: str
    ) -> Concluded | Refusal:
        outbox_position = parse_payment_id(authorization.payment_id)
        assert outbox_position is not None
        if authorization.state is not AuthorizationState.AUTHORIZED:
            return self._concluded_before(
                authorization, outbox_position, state, amount_minor, self._in_ledger(authorization)
            )
        intent = conclusion_intent(authorization, state, amount_minor, actor)
        if actor != CLOCK:
            intent.origin = travelling_origin()
        due_ms = to_milliseconds(authorization.expires_at)

        def attempt(snapshot: DirectorySnapshot) -> Concluded | Refusal:
            reply = self._cache.authorizations.conclude(
                outbox_position, intent, state, due_ms, snapshot.version, not authorization.hold_minor
            )
            if isinstance(reply, Stale):
                raise NotReady(stale_partitions=(outbox_position.partition,))
            if reply.code is ConcludeCode.COLD:
                raise NotReady(cold_account_ids=(authorization.guarded_account_id,))
            return self._outcome(authorization, outbox_position, state, amount_minor, reply)

        return self._decider.decide(attempt)

    def _outcome(
        self,
        authorization: Authorization,
        outbox_position: OutboxPosition,
        state: AuthorizationState,
        amount_minor: int,
        reply: ConcludeReply,
    ) -> Concluded | Refusal:
        if reply.code is ConcludeCode.CONCLUDED:
            assert reply.conclusion is not None
            if reply.wake:
                self._wake()
            end = OutboxPosition(outbox_position.partition, reply.conclusion.stream_id)
            self._outcomes.acknowledged.add_end(end, authorization.payment_id)
            return Concluded(authorization.concluded_as(state, amount_minor, end), end, replayed=False)
        if reply.code is ConcludeCode.EXPIRED:
            return authorization_concluded(authorization.payment_id, AuthorizationState.EXPIRED)
        if reply.code is ConcludeCode.BACKLOGGED:
            return ledger_backlogged({"payment_id": authorization.payment_id})
        if reply.code is ConcludeCode.NOT_DUE:
            return authorization_not_due(authorization.payment_id)
        return self._concluded_before(
            authorization, outbox_position, state, amount_minor, reply.conclusion or self._in_ledger(authorization)
        )

    def _concluded_before(
        self,
        authorization: Authorization,
        outbox_position: OutboxPosition,
        state: AuthorizationState,
        amount_minor: int,
        earlier: Conclusion | None,
    ) -> Concluded | Refusal:
        """The answer to a second conclusion: the first answer again if both ask for the same, otherwise a refusal."""
        if earlier is None:
            return authorization_not_found(authorization.payment_id)
        if earlier.state is not state or earlier.captured_minor != amount_minor:
            return authorization_concluded(authorization.payment_id, earlier.state)
        end = OutboxPosition(outbox_position.partition, earlier.stream_id)
        return Concluded(authorization.concluded_as(state, amount_minor, end), end, replayed=True)

    def _in_ledger(self, authorization: Authorization) -> Conclusion | None:
        """How the authorization ended, as the ledger has it; the cache forgets this after the idempotency window."""
        stored = self._ledger.get(authorization.payment_id)
        end = parse_payment_id(stored.concluded_by) if stored and stored.concluded_by else None
        if stored is None or end is None:
            return None
        return Conclusion(stored.state, stored.captured_minor or 0, end.stream_id)


def _noted(outcome: Concluded | Refusal) -> Concluded | Refusal:
    """Note that the drain records what has just been concluded."""
    if isinstance(outcome, Concluded) and not outcome.replayed:
        note_recorded()
    return outcome


def conclusion_intent(authorization: Authorization, state: AuthorizationState, amount_minor: int, actor: str) -> Intent:
    """The intent that ends an authorization."""
    legs = authorization.captured_legs(amount_minor) if amount_minor else []
    held = sum(abs(leg.amount_minor) for leg in legs if leg.account_id == authorization.guarded_account_id)
    return Intent(
        entity_id=authorization.entity_id,
        external_id=authorization.external_id,
        fingerprint=authorization.fingerprint,
        guarded_account_id=authorization.guarded_account_id,
        hold_minor=held if authorization.hold_minor else 0,
        currency_code=authorization.currency_code,
        legs=legs,
        actor=actor,
        kind=_KIND[state],
        description=authorization.description,
        effective_at=authorization.effective_at,
        metadata=authorization.metadata,
        payment_id=authorization.payment_id,
    )
