"""Builders of the refusals that concern payments and authorizations, in order of precedence.

A builder takes plain values and returns a refusal: a code, a sentence, and the figures that explain it. Amounts are in
minor units.
"""

from collections.abc import Mapping
from datetime import datetime

from app.domain.refusals import Refusal, RefusalCode
from app.domain.timestamps import rfc3339
from app.domain.wording import moment_in_words

# What is asked


def needs_one_destination() -> Refusal:
    """A payment with both a destination and a split, or with neither."""
    detail = "A payment needs exactly one of destination_account_id and destinations."
    return Refusal(RefusalCode.MALFORMED_REQUEST, detail, {"field": "destinations"})


def effective_at_in_future(field: str, moment: datetime, now: datetime) -> Refusal:
    """A payment that is to take effect later than `now`."""
    return Refusal(
        RefusalCode.EFFECTIVE_AT_IN_FUTURE,
        f"{field} {moment_in_words(moment)} lies in the future, and a payment takes effect at once or has already. "
        "Nothing that is posted waits for its time: make the payment when it is due.",
        {"field": field, "now": rfc3339(now)},
    )


def source_is_destination(account_id: str) -> Refusal:
    """A payment from an account to itself."""
    detail = "Source and destination are the same account; a payment moves money between two."
    return Refusal(RefusalCode.ACCOUNTS_EQUAL, detail, {"account_id": account_id})


def payment_not_found(payment_id: str) -> Refusal:
    """A payment that does not exist."""
    return Refusal(RefusalCode.PAYMENT_NOT_FOUND, f"There is no payment {payment_id!r}.", {"payment_id": payment_id})


def nothing_to_prove(name: str, value: str) -> Refusal:
    """Evidence of what does not exist; `name` is what it was asked for by, such as `external_id`."""
    return Refusal(RefusalCode.PAYMENT_NOT_FOUND, f"Nothing has the {name} {value!r}.", {name: value})


def entity_mismatch(**figures: str) -> Refusal:
    """Accounts of different entities in one movement; `figures` name the accounts or the entities."""
    return Refusal(RefusalCode.ENTITY_MISMATCH, "The accounts belong to different entities.", figures)


def currency_mismatch(account_id: str, account_currency_code: str, payment_currency_code: str) -> Refusal:
    """A payment in a currency that is not the account's."""
    return Refusal(
        RefusalCode.CURRENCY_MISMATCH,
        f"Account {account_id!r} is in {account_currency_code}, the payment in {payment_currency_code}; "
        "a payment never crosses currencies.",
        {"account_id": account_id, "account_currency_code": account_currency_code},
    )


def amount_not_positive(amount_minor: int) -> Refusal:
    """An amount of zero or less."""
    detail = "amount_minor must be greater than zero."
    return Refusal(RefusalCode.AMOUNT_NOT_POSITIVE, detail, {"amount_minor": amount_minor})


def destination_amount_not_positive(account_id: str, amount_minor: int) -> Refusal:
    """A destination of a split with a fixed amount of zero or less."""
    detail = f"The amount of destination {account_id!r} must be greater than zero."
    return Refusal(RefusalCode.AMOUNT_NOT_POSITIVE, detail, {"account_id": account_id, "amount_minor": amount_minor})


def amount_out_of_range(max_minor: int) -> Refusal:
    """An amount above the largest that every client counts exactly."""
    detail = f"amount_minor is above {max_minor}, the largest amount that every client counts exactly."
    return Refusal(RefusalCode.AMOUNT_OUT_OF_RANGE, detail, {"max_minor": max_minor})


def invalid_split(detail: str) -> Refusal:
    """Destinations that no amount can be divided among."""
    return Refusal(RefusalCode.SPLITS_DO_NOT_ADD_UP, detail, {"field": "destinations"})


def splits_do_not_add_up(amount_minor: int, covered: str, fixed_minor: int, shares: str) -> Refusal:
    """Destinations that come to `covered` and not to the whole amount; `covered` and `shares` are exact decimals."""
    return Refusal(
        RefusalCode.SPLITS_DO_NOT_ADD_UP,
        f"The destinations come to {covered} of {amount_minor}; they must come to the whole amount, "
        "or one of them must take the remainder.",
        {"amount_minor": amount_minor, "fixed_minor": fixed_minor, "shares": shares},
    )


def expiry_not_allowed(detail: str, field: str = "expires_in_s") -> Refusal:
    """An expiry where there can be none, or one that is too short or too long."""
    return Refusal(RefusalCode.EXPIRY_NOT_ALLOWED, detail, {"field": field})


def two_guarded_accounts(source_account_id: str) -> Refusal:
    """A payment that would lower several balances that have a floor."""
    return Refusal(
        RefusalCode.TWO_GUARDED_ACCOUNTS,
        "Several balances would fall and have a floor, so no single check can decide this payment; "
        "post it as a journal.",
        {"source_account_id": source_account_id},
    )


def batch_crosses_partitions() -> Refusal:
    """An atomic batch whose guarded accounts lie in several partitions."""
    return Refusal(
        RefusalCode.BATCH_CROSSES_PARTITIONS,
        "The guarded accounts of these payments lie in different partitions, so no single check can decide them all or "
        "none. Payments out of one account always lie together; several accounts can be moved at once by a journal.",
    )


# Idempotency


def external_id_reused(
    external_id: str, field: str, *, used_for: str = "another payment", payment_id: str | None = None
) -> Refusal:
    """An external id that was used before with another content of `field`; by `payment_id`, if the ledger knows."""
    earlier = {"external_id": external_id} if payment_id is None else {"payment_id": payment_id}
    return Refusal(
        RefusalCode.EXTERNAL_ID_REUSED,
        f"external_id {external_id!r} was used before for {used_for}: {field} differs. Nothing was moved.",
        {"field": field, **earlier},
    )


def external_id_refused(external_id: str, payment_id: str) -> Refusal:
    """An external id whose first payment the ledger rejected."""
    detail = f"external_id {external_id!r} was refused before; send a new one to try again."
    return Refusal(RefusalCode.EXTERNAL_ID_REFUSED, detail, {"payment_id": payment_id})


# Funds


def optimistic_lock_conflict(version: int, expected_version: int | None, figures: Mapping[str, object]) -> Refusal:
    """A payment that was based on an older version of the account; `figures` are the account's funds."""
    return Refusal(
        RefusalCode.OPTIMISTIC_LOCK_CONFLICT,
        f"The account is at version {version}, not {expected_version}. Read the balance again, decide again, and send "
        "the same external_id with the new version.",
        {**figures, "current_version": version, "expected_version": expected_version},
    )


def insufficient_funds(
    account_id: str,
    available_minor: int,
    needed_minor: int,
    figures: Mapping[str, object],
    *,
    advice: str,
    is_held_back: bool = False,
    movement: str = "payment",
    moment: str = "",
) -> Refusal:
    """A movement that needs more than the cache has available; `figures` are the account's funds.

    `movement` is what needs them, `moment` says where in a batch, and `advice` what a client can do. If only holds
    stand in its way (`is_held_back`), the same may succeed once they are free, so it may be tried again.
    """
    detail = (
        f"Account {account_id!r} has {available_minor} available{moment}, the {movement} needs {needed_minor}. {advice}"
    )
    return Refusal(RefusalCode.INSUFFICIENT_FUNDS, detail, figures, retryable=is_held_back)


def is_held_back(outcome: object) -> bool:
    """Whether an outcome is a refusal that only holds explain, so that the same may succeed once they are free."""
    return isinstance(outcome, Refusal) and outcome.code is RefusalCode.INSUFFICIENT_FUNDS and outcome.retryable is True


def refused_for_funds(figures: Mapping[str, object]) -> Refusal:
    """An earlier refusal, of which the cache still knows the account's funds."""
    return Refusal(RefusalCode.INSUFFICIENT_FUNDS, "Refused for lack of funds.", figures)


def ledger_below_floor(account_id: str, balance_minor: int, floor_minor: int, amount_minor: int) -> Refusal:
    """An entry that would lower the balance in the ledger below its floor."""
    return Refusal(
        RefusalCode.INSUFFICIENT_FUNDS,
        f"The ledger would take account {account_id!r} below its floor.",
        {
            "account_id": account_id,
            "balance_minor": balance_minor,
            "floor_minor": floor_minor,
            "amount_minor": amount_minor,
        },
    )


def balance_out_of_range(account_id: str, figures: Mapping[str, object]) -> Refusal:
    """A balance that would leave the exact integers; `figures` are the funds on which this was decided."""
    detail = f"The funds of account {account_id!r} would leave the range of ±(2^53 − 1)."
    return Refusal(RefusalCode.BALANCE_OUT_OF_RANGE, detail, figures)


# Authorizations


def authorization_not_found(payment_id: str) -> Refusal:
    """An id under which there is no authorization."""
    detail = f"Payment {payment_id!r} is not an authorization, or there is none of this id."
    return Refusal(RefusalCode.HOLD_NOT_FOUND, detail, {"payment_id": payment_id})


def authorization_not_due(payment_id: str) -> Refusal:
    """An authorization that is to expire before its time, by the cache's clock."""
    return Refusal(RefusalCode.HOLD_NOT_FOUND, "It is not due yet.", {"payment_id": payment_id})


_CONCLUDED = {
    "captured": RefusalCode.HOLD_ALREADY_CAPTURED,
    "voided": RefusalCode.HOLD_ALREADY_VOIDED,
    "expired": RefusalCode.HOLD_EXPIRED,
}


def authorization_concluded(payment_id: str, state: str) -> Refusal:
    """An authorization that was captured, voided or expired before."""
    detail = f"The authorization {payment_id} is {state} already."
    return Refusal(_CONCLUDED[state], detail, {"payment_id": payment_id, "state": str(state)})


def capture_exceeds_authorization(payment_id: str, amount_minor: int, authorized_minor: int) -> Refusal:
    """A capture of more than was authorized."""
    return Refusal(
        RefusalCode.CAPTURE_EXCEEDS_HOLD,
        f"{amount_minor} is more than the {authorized_minor} that were authorized.",
        {"payment_id": payment_id, "amount_minor": amount_minor, "authorized_minor": authorized_minor},
    )


# Posting


def rejected_by_ledger(payment_id: str, external_id: str) -> Refusal:
    """An accepted payment that the ledger rejected, where the reason is not on record."""
    detail = f"The ledger rejected payment {payment_id}."
    return Refusal(RefusalCode.REJECTED_BY_LEDGER, detail, {"payment_id": payment_id, "external_id": external_id})


def rejected_by_constraint(constraint: str, message: str, *, linked: bool = False) -> Refusal:
    """A posting, or an atomic batch of linked ones, that a constraint of the database rejected."""
    return Refusal(
        RefusalCode.LINKED_PAYMENT_FAILED if linked else RefusalCode.REJECTED_BY_LEDGER,
        f"The ledger rejected the posting by {constraint or 'a constraint'}: {message}",
        {"constraint": constraint},
    )


def linked_payment_failed(failed_index: int, failed_code: str) -> Refusal:
    """A payment of an atomic batch of which another was refused; `failed_index` counts from 0."""
    return Refusal(
        RefusalCode.LINKED_PAYMENT_FAILED,
        f"Nothing was moved: payment {failed_index} of the atomic batch failed ({failed_code}).",
        {"failed_index": failed_index, "failed_code": failed_code},
    )


def linked_payment_rejected(failed_payment_id: str, failed_code: str) -> Refusal:
    """An accepted payment of an atomic batch of which the ledger rejected another."""
    return Refusal(
        RefusalCode.LINKED_PAYMENT_FAILED,
        f"Payment {failed_payment_id} of the same atomic batch was rejected ({failed_code}).",
        {"failed_payment_id": failed_payment_id, "failed_code": failed_code},
    )


def ledger_backlogged(figures: Mapping[str, object], advice: str = "Retry.") -> Refusal:
    """A payment that came while too many waited for the ledger."""
    detail = f"More payments wait for the ledger than the configured limit; nothing was moved. {advice}"
    return Refusal(RefusalCode.LEDGER_BACKLOGGED, detail, figures)


def posting_retries_exhausted(payment_id: str, payment_status: str, external_id: str | None = None) -> Refusal:
    """An accepted payment whose accounts the ledger could not lock within the bounded retries."""
    figures = {"payment_id": payment_id, "payment_status": payment_status}
    advice = ""
    if external_id is not None:
        figures["external_id"] = external_id
        advice = "; ask for it by payment_id, or retry with the same external_id"
    return Refusal(
        RefusalCode.CONCURRENCY_RETRY_EXHAUSTED,
        f"The payment is accepted and {payment_status}, but the ledger could not lock its accounts within the bounded "
        f"retries. It will post once they are free{advice}.",
        figures,
    )
