"""What a payment is answered with: an acknowledgement, or the refusal that the funds or the books are the reason of."""

from dataclasses import dataclass

from app.domain.decisions import FundsState, ReserveCode, ReserveItem
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent
from app.domain.refusals import Refusal, RefusalCode


@dataclass(slots=True)
class Accepted:
    """An acknowledged payment. `version` is the guarded account's after the decision, if still known.

    In a dry run it has no position, for there is no such payment, and the `funds` that it would have left.
    """

    place: PaymentPosition
    intent: Intent
    version: int | None
    funds: FundsState | None = None
    replayed: bool = False
    posted: bool = False
    turned_away: bool = False
    """It was to wait for the books, but all places were taken."""

    @property
    def payment_id(self) -> str:
        """The public id."""
        return self.place.payment_id

    @property
    def is_rehearsed(self) -> bool:
        """Whether a dry run decided it, so that nothing was written."""
        return not self.place.position


@dataclass(slots=True)
class RefusedPayment:
    """An external id whose payment the script refused; it never got an id of its own."""

    external_id: str
    refusal: Refusal


def posted_as(accepted: Accepted, place: PaymentPosition) -> Accepted:
    return Accepted(place, accepted.intent, accepted.version, replayed=accepted.replayed, posted=True)


def funds_figures(funds: FundsState) -> dict[str, object]:
    return {
        "balance_minor": funds.balance_minor,
        "held_minor": funds.held_minor,
        "floor_minor": funds.floor_minor,
        "available_minor": funds.available_minor,
        "version": funds.version,
    }


def refuse_funds(code: ReserveCode, item: ReserveItem, funds: FundsState) -> Refusal:
    intent = item.intent
    figures = {"account_id": intent.guarded_account_id, "amount_minor": intent.amount_minor, **funds_figures(funds)}
    if code is ReserveCode.VERSION_CONFLICT:
        return Refusal(
            RefusalCode.OPTIMISTIC_LOCK_CONFLICT,
            f"The account is at version {funds.version}, not {item.expected_version}. Read the balance again, decide "
            f"again, and send the same external_id with the new version.",
            {**figures, "current_version": funds.version, "expected_version": item.expected_version},
        )
    if code is ReserveCode.INSUFFICIENT_FUNDS:
        return Refusal(
            RefusalCode.INSUFFICIENT_FUNDS,
            f"Account {intent.guarded_account_id!r} has {funds.available_minor} available, "
            f"the payment needs {intent.hold_minor}. A retry needs a new external_id.",
            figures,
        )
    if code is ReserveCode.BALANCE_OUT_OF_RANGE:
        return Refusal(
            RefusalCode.BALANCE_OUT_OF_RANGE,
            f"The funds of account {intent.guarded_account_id!r} would leave the range of ±(2^53 − 1).",
            figures,
        )
    return Refusal(
        RefusalCode.LEDGER_BACKLOGGED,
        "More payments wait for the books than the configured limit; nothing was moved. "
        "Retry with the same external_id.",
        figures,
    )


def refuse_exhausted(accepted: Accepted) -> Refusal:
    return Refusal(
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        "The payment is accepted and pending, but the books could not lock its accounts within the bounded retries. "
        "It will post once they are free; ask for it by payment_id, or retry with the same external_id.",
        {"payment_id": accepted.payment_id, "external_id": accepted.intent.external_id, "payment_status": "pending"},
    )
