"""Holds: capturing, voiding and expiring authorizations."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.advancing import authorized_hold
from app.domain.clock import to_milliseconds
from app.domain.decisions import ConcludeCode, ConcludeReply, Conclusion, Stale
from app.domain.faults import ConcurrencyRetryExhausted
from app.domain.holds import Hold, HoldState, hold_not_found, refuse_concluded
from app.domain.partitions import PaymentPosition, parse_payment_id
from app.domain.payments import Intent, Kind, Leg
from app.domain.refusals import Refusal, RefusalCode
from app.domain.splits import allocate
from app.services.heard import Answer
from app.services.payments import PASSES, Payments
from app.services.ports.books import HoldRegister
from app.services.ports.funds import ConcludeFunds, PendingFunds

_KIND = {HoldState.CAPTURED: Kind.CAPTURE, HoldState.VOIDED: Kind.VOID, HoldState.EXPIRED: Kind.EXPIRY}

EXPIRED_AT_ONCE = 5_000
"""A sweep finds those again whose end is still to be posted, so it looks at many more than a drain leaves waiting."""
CLOCK = "clock"
"""The actor of an expiry."""


class HoldFunds(ConcludeFunds, PendingFunds, Protocol):
    """The cache, for holds."""


@dataclass(slots=True)
class Concluded:
    """An authorization that has ended; `place` is the outbox position of its end."""

    hold: Hold
    place: PaymentPosition
    replayed: bool
    in_books: bool = False
    turned_away: bool = False
    """It was to wait for the books, but all places were taken."""


class Holds:
    """The verbs of authorizations, over the cache and the books."""

    def __init__(
        self,
        funds: HoldFunds,
        books: HoldRegister,
        payments: Payments,
        wake: Callable[[], None],
    ) -> None:
        self._funds = funds
        self._books = books
        self._payments = payments
        self._wake = wake

    def capture(self, payment_id: str, amount_minor: int | None, actor: str) -> Concluded | Refusal:
        """Capture all or part of an authorization, once; the rest is released. Minor units."""
        hold = self._find(payment_id)
        if hold is None:
            return hold_not_found(payment_id)
        amount = hold.amount_minor if amount_minor is None else amount_minor
        if amount <= 0:
            figures = {"amount_minor": amount}
            return Refusal(RefusalCode.AMOUNT_NOT_POSITIVE, "amount_minor must be greater than zero.", figures)
        if amount > hold.amount_minor:
            return Refusal(
                RefusalCode.CAPTURE_EXCEEDS_HOLD,
                f"{amount} is more than the {hold.amount_minor} that were authorized.",
                {"payment_id": payment_id, "amount_minor": amount, "authorized_minor": hold.amount_minor},
            )
        return self._conclude(hold, HoldState.CAPTURED, amount, actor)

    def void(self, payment_id: str, actor: str) -> Concluded | Refusal:
        """Release an authorization."""
        hold = self._find(payment_id)
        return hold_not_found(payment_id) if hold is None else self._conclude(hold, HoldState.VOIDED, 0, actor)

    def expire_due(self, now: datetime) -> int:
        """Release the authorizations whose time is over; returns how many. The cache's clock has the last word."""
        released = 0
        for hold in self._books.due(now, EXPIRED_AT_ONCE):
            try:
                outcome = self._conclude(hold, HoldState.EXPIRED, 0, CLOCK)
            except ConcurrencyRetryExhausted:
                continue  # the next sweep finds it again
            released += isinstance(outcome, Concluded) and not outcome.replayed
        return released

    def wait(self, concluded: Concluded, seconds: float) -> Concluded | Refusal:
        """Wait until the books have the conclusion, or `seconds` are over."""
        answer = self._payments.waiting.wait(concluded.place, seconds)
        concluded.turned_away = answer is Answer.FULL
        if answer is Answer.EXHAUSTED:
            return Refusal(
                RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
                "It is accepted, but the books could not lock the accounts within the bounded retries; it will post "
                "once they are free.",
                {"payment_id": concluded.hold.payment_id, "payment_status": concluded.hold.state.value},
            )
        if answer in (Answer.POSTED, Answer.CHECK):
            stored = self._books.get(concluded.hold.payment_id)
            if stored is not None and stored.state not in (HoldState.AUTHORIZED, concluded.hold.state):
                return self._payments.rejection(concluded.place, concluded.hold, replayed=concluded.replayed)
            concluded.in_books = stored is not None and stored.state is not HoldState.AUTHORIZED
        return concluded

    def _find(self, payment_id: str) -> Hold | None:
        """An authorization as it was accepted; the outbox first, and the books after it."""
        place = parse_payment_id(payment_id)
        if place is None:
            return None
        queued = self._funds.pending(place)
        if queued is not None:
            return authorized_hold(queued) if queued.intent.kind == Kind.AUTHORIZATION else None
        return self._books.get(payment_id)

    def _conclude(self, hold: Hold, state: HoldState, amount_minor: int, actor: str) -> Concluded | Refusal:
        place = parse_payment_id(hold.payment_id)
        assert place is not None
        if hold.state is not HoldState.AUTHORIZED:
            return self._concluded_before(hold, place, state, amount_minor, self._in_books(hold))
        intent = conclusion_intent(hold, state, amount_minor, actor)
        due_ms = to_milliseconds(hold.expires_at)
        for _ in range(PASSES):
            version = self._payments.directory.snapshot().version
            reply = self._funds.conclude(place, intent, state, due_ms, version, not hold.hold_minor)
            if isinstance(reply, Stale):
                self._payments.reopen(place.partition)
            elif reply.code is ConcludeCode.COLD:
                self._payments.balances.hydrate([hold.guarded_account_id])
            else:
                return self._outcome(hold, place, state, amount_minor, reply)
        raise ConcurrencyRetryExhausted("the account keeps changing; nothing was moved")

    def _outcome(
        self, hold: Hold, place: PaymentPosition, state: HoldState, amount_minor: int, reply: ConcludeReply
    ) -> Concluded | Refusal:
        if reply.code is ConcludeCode.CONCLUDED:
            assert reply.conclusion is not None
            if reply.wake:
                self._wake()
            end = PaymentPosition(place.partition, reply.conclusion.position)
            return Concluded(hold.concluded_as(state, amount_minor), end, replayed=False)
        if reply.code is ConcludeCode.EXPIRED:
            return refuse_concluded(hold.payment_id, HoldState.EXPIRED)
        if reply.code is ConcludeCode.BACKLOGGED:
            detail = "More payments wait for the books than the configured limit; nothing was moved. Retry."
            return Refusal(RefusalCode.LEDGER_BACKLOGGED, detail, {"payment_id": hold.payment_id})
        if reply.code is ConcludeCode.NOT_DUE:
            return Refusal(RefusalCode.HOLD_NOT_FOUND, "It is not due yet.", {"payment_id": hold.payment_id})
        return self._concluded_before(hold, place, state, amount_minor, reply.conclusion or self._in_books(hold))

    def _concluded_before(
        self,
        hold: Hold,
        place: PaymentPosition,
        state: HoldState,
        amount_minor: int,
        earlier: Conclusion | None,
    ) -> Concluded | Refusal:
        """The answer to who comes second: the first answer again to the same, a refusal to anything else."""
        if earlier is None:
            return hold_not_found(hold.payment_id)
        if earlier.state is not state or earlier.captured_minor != amount_minor:
            return refuse_concluded(hold.payment_id, earlier.state)
        end = PaymentPosition(place.partition, earlier.position)
        return Concluded(hold.concluded_as(state, amount_minor), end, replayed=True)

    def _in_books(self, hold: Hold) -> Conclusion | None:
        """How it ended, by the books: the cache forgets after the idempotency window."""
        stored = self._books.get(hold.payment_id)
        end = parse_payment_id(stored.concluded_by) if stored and stored.concluded_by else None
        if stored is None or end is None:
            return None
        return Conclusion(stored.state, stored.captured_minor or 0, end.position)


def conclusion_intent(hold: Hold, state: HoldState, amount_minor: int, actor: str) -> Intent:
    """The intent that ends an authorization. A partial capture takes every destination's part in proportion."""
    legs: list[Leg] = []
    if amount_minor:
        parts = allocate(amount_minor, [-leg.amount_minor for leg in hold.legs[1:]])
        credited = zip(hold.legs[1:], parts, strict=True)
        legs = [
            Leg(hold.legs[0].account_id, amount_minor),
            *(Leg(leg.account_id, -part) for leg, part in credited if part),
        ]
    held = sum(abs(leg.amount_minor) for leg in legs if leg.account_id == hold.guarded_account_id)
    return Intent(
        entity_id=hold.entity_id,
        external_id=hold.external_id,
        fingerprint=hold.fingerprint,
        guarded_account_id=hold.guarded_account_id,
        hold_minor=held if hold.hold_minor else 0,
        currency_code=hold.currency_code,
        legs=legs,
        actor=actor,
        kind=_KIND[state],
        description=hold.description,
        effective_at=hold.effective_at,
        metadata=hold.metadata,
        payment_id=hold.payment_id,
    )
