"""Builders of the refusals that concern journals, reversals and refunds, in order of precedence.

A builder takes plain values and returns a refusal: a code, a sentence, and the figures that explain it. Amounts are in
minor units.
"""

from app.domain.actors import actor_in_words
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


NEVER_POSTED = frozenset({"rejected", "voided", "expired"})
"""Statuses of payments that have ended without the ledger: it never has them, however long one waits."""


def payment_not_posted(payment_id: str, status: str) -> Refusal:
    """A refund of a payment that is not in the ledger; retryable if it may still come there."""
    return Refusal(
        RefusalCode.PAYMENT_NOT_POSTED,
        f"Payment {payment_id} is {status}; only what is in the ledger can be refunded.",
        {"payment_id": payment_id, "payment_status": status},
        retryable=False if status in NEVER_POSTED else None,
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


def proposal_not_found(proposal_id: object) -> Refusal:
    """A proposal that does not exist, or that the caller may not see."""
    detail = f"There is no proposed journal {str(proposal_id)!r}."
    return Refusal(RefusalCode.PROPOSAL_NOT_FOUND, detail, {"proposal_id": str(proposal_id)})


def proposal_decided(proposal_id: int, state: str, decided_by: str, journal_id: str | None) -> Refusal:
    """A second decision on a proposal."""
    posted = "" if journal_id is None else f" It is in the ledger as {journal_id}."
    return Refusal(
        RefusalCode.PROPOSAL_DECIDED,
        f"The proposed journal {proposal_id} was {state} by {actor_in_words(decided_by)}.{posted}",
        {"proposal_id": str(proposal_id), "proposal_state": state, "decided_by": decided_by, "journal_id": journal_id},
    )


def second_person_needed(proposal_id: int, entered_by: str) -> Refusal:
    """A decision on a proposal by somebody who may not make it."""
    return Refusal(
        RefusalCode.SECOND_PERSON_NEEDED,
        f"The proposed journal {proposal_id} was entered by {actor_in_words(entered_by)}; another person with the role "
        "controller decides.",
        {"proposal_id": str(proposal_id), "entered_by": entered_by},
    )


def not_own_proposal(proposal_id: int, entered_by: str) -> Refusal:
    """A withdrawal by somebody else than who entered it."""
    return Refusal(
        RefusalCode.FORBIDDEN,
        f"The proposed journal {proposal_id} was entered by {actor_in_words(entered_by)}. Nobody else may withdraw it; "
        "a controller returns it.",
        {"proposal_id": str(proposal_id), "entered_by": entered_by},
    )


def approval_needed() -> Refusal:
    """A journal that is to be posted at once where every journal needs a second person."""
    return Refusal(
        RefusalCode.APPROVAL_NEEDED,
        "Journals need the approval of a second person here; nothing was posted. Propose it instead.",
    )


def posted_without_approval(proposal_id: int, journal_id: str) -> Refusal:
    """A proposal whose content was posted under its external id in another way."""
    return Refusal(
        RefusalCode.PROPOSAL_DECIDED,
        f"The ledger has this external id already, as {journal_id}, not by this proposal. Return it.",
        {"proposal_id": str(proposal_id), "journal_id": journal_id},
    )


def posted_already(external_id: str, journal_id: str) -> Refusal:
    """A proposal of what the ledger has."""
    detail = f"The ledger has this already, as {journal_id}; there is nothing to approve."
    return Refusal(RefusalCode.EXTERNAL_ID_REUSED, detail, {"external_id": external_id, "journal_id": journal_id})


def proposed_already(external_id: str, proposal_id: int, entered_by: str) -> Refusal:
    """A proposal under the external id of another one that waits."""
    by = actor_in_words(entered_by)
    return Refusal(
        RefusalCode.EXTERNAL_ID_REUSED,
        f"external_id {external_id!r} is that of proposal {proposal_id}, which was entered by {by} and waits.",
        {"external_id": external_id, "proposal_id": str(proposal_id), "entered_by": entered_by},
    )
