"""Builders of the refusals that concern accounts, their changes and their assets, in order of precedence.

A builder takes plain values and returns a refusal: a code, a sentence, and the figures that explain it. Amounts are in
minor units.
"""

from unicodedata import is_normalized

from app.domain.refusals import Refusal, RefusalCode


def invalid_id(field: str, rule: str) -> Refusal:
    """An identifier that breaks a rule; `rule` completes the sentence "`field` must …"."""
    return Refusal(RefusalCode.INVALID_ID, f"{field} must {rule}.", {"field": field})


def not_composed(field: str) -> Refusal:
    """An identifier that is not in Unicode's Normalization Form C."""
    return invalid_id(
        field,
        "be in Unicode Normalization Form C, e.g. é as the one character U+00E9: in another form it looks the same and "
        "is another id",
    )


def account_not_found(account_id: str) -> Refusal:
    """An account that does not exist; an id that is not composed may be meant for one that does."""
    if not is_normalized("NFC", account_id):
        return not_composed("account_id")
    detail = f"There is no account {account_id!r}; create it first."
    return Refusal(RefusalCode.ACCOUNT_NOT_FOUND, detail, {"account_id": account_id})


def account_exists(account_id: str, field: str) -> Refusal:
    """An account that exists already and differs in `field` from the one to create."""
    detail = f"Account {account_id!r} exists with another {field}."
    return Refusal(RefusalCode.ACCOUNT_EXISTS, detail, {"account_id": account_id, "field": field})


def account_id_taken(account_id: str) -> Refusal:
    """An id that an account out of the caller's reach has; nothing of that account is told."""
    detail = f"The id {account_id!r} cannot be used for an account; choose another."
    return Refusal(RefusalCode.ACCOUNT_EXISTS, detail, {"account_id": account_id, "field": "account_id"})


def asset_exists(currency_code: str, field: str, minor_units: int) -> Refusal:
    """An asset that exists already and differs in `field` from the one to register."""
    detail = f"Asset {currency_code} exists with another {field}."
    figures = {"currency_code": currency_code, "field": field, "minor_units": minor_units}
    return Refusal(RefusalCode.ASSET_EXISTS, detail, figures)


def asset_code_reserved(currency_code: str) -> Refusal:
    """An asset that takes a code of ISO 4217."""
    detail = f"{currency_code} is a code of ISO 4217; choose one of your own."
    return Refusal(RefusalCode.ASSET_EXISTS, detail, {"currency_code": currency_code, "iso_4217": True})


def asset_code_in_use(currency_code: str, minor_units: int) -> Refusal:
    """An asset that takes the code of a currency in which there are accounts."""
    detail = (
        f"{currency_code} is a currency of ISO 4217 that accounts are kept in, with {minor_units} minor units; "
        "choose a code of your own."
    )
    figures = {"currency_code": currency_code, "minor_units": minor_units, "iso_4217": True}
    return Refusal(RefusalCode.ASSET_EXISTS, detail, figures)


def account_barred(account_id: str, status: str) -> Refusal:
    """A movement on an account that is closed, or frozen for this side."""
    return Refusal(
        RefusalCode.ACCOUNT_CLOSED if status == "closed" else RefusalCode.ACCOUNT_FROZEN,
        f"Account {account_id!r} is {status}; nothing was moved.",
        {"account_id": account_id, "account_status": status},
    )


def account_paused(account_id: str) -> Refusal:
    """A movement on an account that is being closed or given another limit at this moment."""
    return Refusal(
        RefusalCode.ACCOUNT_PAUSED,
        f"Account {account_id!r} takes no payment for the moment in which it is changed; nothing was moved. "
        "Retry with the same external_id.",
        {"account_id": account_id},
    )


def account_closed_for_good(account_id: str) -> Refusal:
    """A change of the limit or the status of a closed account."""
    return Refusal(
        RefusalCode.ACCOUNT_CLOSED,
        f"Account {account_id!r} is closed for good; only its name and metadata can change.",
        {"account_id": account_id, "account_status": "closed"},
    )


def unknown_currency(currency_code: str) -> Refusal:
    """A code that is neither in ISO 4217 nor registered."""
    detail = f"{currency_code} is neither a currency of ISO 4217 nor a registered asset; register it first."
    return Refusal(RefusalCode.UNKNOWN_CURRENCY, detail, {"currency_code": currency_code})


def account_has_changed(account_id: str, version: int, expected_version: int) -> Refusal:
    """A change that was based on an older version of the account."""
    return Refusal(
        RefusalCode.PRECONDITION_FAILED,
        f"Account {account_id!r} is at version {version}, not {expected_version}. Read it again and decide again; "
        "nothing was changed.",
        {"account_id": account_id, "current_version": version, "expected_version": expected_version},
    )


def limit_out_of_range(max_minor: int) -> Refusal:
    """An overdraft limit that is negative or above the largest amount."""
    return Refusal(
        RefusalCode.AMOUNT_OUT_OF_RANGE,
        f"overdraft_limit_minor must lie between 0 and {max_minor}.",
        {"field": "overdraft_limit_minor", "max_minor": max_minor},
    )


def limit_below_use(
    account_id: str, overdraft_limit_minor: int, balance_minor: int, held_minor: int, version: int
) -> Refusal:
    """An overdraft limit below what is in use."""
    lowest_limit = _lowest_limit(balance_minor, held_minor)
    detail = (
        f"Account {account_id!r} uses {lowest_limit} of its overdraft, more than the new limit of "
        f"{overdraft_limit_minor}. Send force: true to set it all the same; nothing can then be spent until the "
        "balance has risen."
    )
    figures = _limit_figures(account_id, overdraft_limit_minor, balance_minor, held_minor, version)
    return Refusal(RefusalCode.LIMIT_BELOW_USE, detail, figures)


def limit_below_authorizations(
    account_id: str, overdraft_limit_minor: int, balance_minor: int, held_minor: int, version: int
) -> Refusal:
    """A forced overdraft limit under which open authorizations could not be captured."""
    detail = (
        f"Open authorizations hold {held_minor} of account {account_id!r} and could not be captured under a "
        f"limit of {overdraft_limit_minor}. Capture or void them first; force does not break them."
    )
    figures = _limit_figures(account_id, overdraft_limit_minor, balance_minor, held_minor, version)
    return Refusal(RefusalCode.LIMIT_BELOW_USE, detail, figures)


def _limit_figures(
    account_id: str, overdraft_limit_minor: int, balance_minor: int, held_minor: int, version: int
) -> dict[str, object]:
    return {
        "account_id": account_id,
        "overdraft_limit_minor": overdraft_limit_minor,
        "lowest_limit_minor": _lowest_limit(balance_minor, held_minor),
        "balance_minor": balance_minor,
        "held_minor": held_minor,
        "version": version,
    }


def _lowest_limit(balance_minor: int, held_minor: int) -> int:
    """The lowest overdraft limit that covers the balance and what is held."""
    return max(0, held_minor - balance_minor)


def authorizations_hold_nothing(account_id: str, count: int) -> Refusal:
    """A first limit while authorizations are open that were made without one, and so hold nothing."""
    return Refusal(
        RefusalCode.LIMIT_BELOW_USE,
        f"{count} open authorizations will lower the balance of account {account_id!r} and hold nothing on it, for it "
        "had no limit when they were made. Capture or void them first.",
        {"account_id": account_id, "open_authorizations": count},
    )


def account_not_empty(
    account_id: str, *, balance_minor: int, held_minor: int, pending_payments: int, open_authorizations: int
) -> Refusal:
    """An account that cannot be closed, with what is left on it."""
    return Refusal(
        RefusalCode.ACCOUNT_NOT_EMPTY,
        f"Account {account_id!r} cannot be closed: its balance is {balance_minor}, {held_minor} are held, "
        f"{pending_payments} payments that touch it are on their way to the ledger, "
        f"{open_authorizations} authorizations are open.",
        {
            "account_id": account_id,
            "balance_minor": balance_minor,
            "held_minor": held_minor,
            "pending_payments": pending_payments,
            "open_authorizations": open_authorizations,
        },
    )


def change_not_confirmed(account_id: str) -> Refusal:
    """A change that the ledger has and that the cache could not be told of."""
    return Refusal(
        RefusalCode.OUTCOME_UNKNOWN,
        "The change is in the ledger, but the cache could not be told of it just now; it will be within seconds. "
        "Repeat the request to be sure: a change made twice is made once.",
        {"account_id": account_id},
    )
