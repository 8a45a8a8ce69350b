"""Builders of the refusals that concern journals, reversals and refunds, in order of precedence.

A builder takes plain values and returns a refusal: a code, a sentence, and the figures that explain it. Amounts are in
minor units.
"""

from app.domain.refusals import Refusal, RefusalCode


def account_listed_twice(account_id: str) -> Refusal:
    """A journal with two entries for one account."""
    detail = f"Account {account_id!r} stands twice; net its entries into one."
    return Refusal(RefusalCode.ACCOUNTS_EQUAL, detail, {"account_id": account_id})


def journal_unbalanced(currency_code: str, difference_minor: int) -> Refusal:
    """A journal whose debits and credits differ in a currency; the difference is positive where debits are higher."""
    side = "debits" if difference_minor > 0 else "credits"
    return Refusal(
        RefusalCode.JOURNAL_UNBALANCED,
        f"In {currency_code} the {side} are higher by {abs(difference_minor)}; debits and credits must be equal in "
        "each currency.",
        {"currency_code": currency_code, "difference_minor": difference_minor},
    )


def payment_not_posted(payment_id: str, status: str) -> Refusal:
    """A refund of a payment that is not in the ledger."""
    return Refusal(
        RefusalCode.PAYMENT_NOT_POSTED,
        f"Payment {payment_id} is {status}; only what is in the ledger can be refunded.",
        {"payment_id": payment_id, "payment_status": status},
    )


def refund_exceeds_payment(
    payment_id: str, amount_minor: int | None, posted_minor: int, remaining_minor: int
) -> Refusal:
    """A refund of more than remains of the payment; `amount_minor` None asked for all that remains."""
    asked = "" if amount_minor is None else f", not {amount_minor}"
    return Refusal(
        RefusalCode.REFUND_EXCEEDS_PAYMENT,
        f"{remaining_minor} of {posted_minor} remain to be refunded{asked}.",
        {
            "payment_id": payment_id,
            "amount_minor": amount_minor,
            "posted_minor": posted_minor,
            "refunded_minor": posted_minor - remaining_minor,
            "remaining_minor": remaining_minor,
        },
    )


def journal_returns_nothing(payment_id: str, source_account_id: str) -> Refusal:
    """A journal that names a payment and credits nothing to the account that made it."""
    return Refusal(
        RefusalCode.JOURNAL_RETURNS_NOTHING,
        f"The journal gives nothing back: it does not credit {source_account_id!r}, which made payment {payment_id}.",
        {"payment_id": payment_id, "source_account_id": source_account_id},
    )


def journal_not_found(journal_id: str) -> Refusal:
    """A journal that does not exist."""
    return Refusal(RefusalCode.JOURNAL_NOT_FOUND, f"There is no journal {journal_id!r}.", {"journal_id": journal_id})


def journal_already_reversed(journal_id: str, reversal_id: str) -> Refusal:
    """A second reversal of a journal."""
    return Refusal(
        RefusalCode.JOURNAL_ALREADY_REVERSED,
        f"Journal {journal_id} was reversed by {reversal_id}.",
        {"journal_id": journal_id, "reversed_by": reversal_id},
    )


def journal_given_up(external_id: str) -> Refusal:
    """The hold of a journal that was not posted."""
    detail = "Its journal was given up before it was posted; the hold is released."
    return Refusal(RefusalCode.REJECTED_BY_LEDGER, detail, {"external_id": external_id})
