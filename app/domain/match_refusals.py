"""Builders of the refusals that concern matching and signing off."""

from collections.abc import Sequence
from datetime import date

from app.domain.money import as_money
from app.domain.refusals import Refusal, RefusalCode


def statement_account_not_found(statement_account_id: object) -> Refusal:
    """An account of statements that is not matched with the ledger."""
    detail = f"There is no statement account {statement_account_id!s}."
    return Refusal(RefusalCode.NOT_FOUND, detail, {"statement_account_id": str(statement_account_id)})


def match_not_found(match_id: object) -> Refusal:
    """A match that does not exist."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no match {match_id!s}.", {"match_id": str(match_id)})


def nothing_stated(source_name: str, account_ref: str, currency_code: str) -> Refusal:
    """An account of which no statement was imported."""
    detail = (
        f"No statement of {source_name!r} is about the account {account_ref!r} in {currency_code}; import one first."
    )
    return Refusal(RefusalCode.NOT_FOUND, detail, {"source_name": source_name, "account_ref": account_ref})


def other_currency(account_id: str, account_currency: str, currency_code: str) -> Refusal:
    """An account of the ledger in another currency than the statement."""
    detail = f"Account {account_id!r} is in {account_currency}, and the statements are in {currency_code}."
    return Refusal(RefusalCode.CURRENCY_MISMATCH, detail, {"account_id": account_id})


def setup_in_use(field: str) -> Refusal:
    """A change of what matches rest on."""
    detail = f"{field} cannot change any more: matches or sign-offs rest on it. Rules can."
    return Refusal(RefusalCode.MATCH_CONFLICT, detail, {"field": field})


def period_signed_off(through: date) -> Refusal:
    """A change within a period that is signed off."""
    detail = f"Everything up to {through} is signed off. Reopen the period first: its next version names this one."
    return Refusal(RefusalCode.PERIOD_SIGNED_OFF, detail, {"signed_through": through.isoformat()})


def not_open(what: str, ids: Sequence[int]) -> Refusal:
    """Lines or entries that do not exist, or have a match already; `what` is `lines` or `entries`."""
    named = ", ".join(map(str, ids[:10]))
    detail = f"These {what} are not those of the account, or have a match or a suggestion already: {named}."
    return Refusal(RefusalCode.MATCH_CONFLICT, detail, {what: [str(one) for one in ids[:10]]})


def wrong_state(match_id: int, state: str) -> Refusal:
    """A decision that the state of a match does not allow."""
    detail = f"Match {match_id} is {state}."
    return Refusal(RefusalCode.MATCH_CONFLICT, detail, {"match_id": str(match_id), "state": state})


def match_differs(lines_minor: int, entries_minor: int, currency_code: str, minor_units: int) -> Refusal:
    """A match whose sides do not add up to the same."""
    lines, entries = as_money(lines_minor, minor_units), as_money(entries_minor, minor_units)
    detail = (
        f"The lines add up to {lines} {currency_code} and the entries to {entries} {currency_code}. Post the "
        "difference as a journal with the match, or accept it."
    )
    figures = {"lines_minor": lines_minor, "entries_minor": entries_minor}
    return Refusal(RefusalCode.MATCH_DIFFERS, detail, figures)


def nothing_to_match() -> Refusal:
    """A match of less than two things."""
    return Refusal(RefusalCode.MATCH_DIFFERS, "A match has at least two lines or entries, or a journal that it posts.")


def nothing_to_post() -> Refusal:
    """A journal for what lines and entries differ by, where they do not differ."""
    detail = "The lines and the entries add up to the same, so there is no journal to post; match them without one."
    return Refusal(RefusalCode.MATCH_DIFFERS, detail)


def journal_waits(proposal_id: int) -> Refusal:
    """A match whose journal a second person must approve first."""
    detail = f"The journal waits for a second person as proposal {proposal_id}. Once approved, match the same again."
    return Refusal(RefusalCode.APPROVAL_NEEDED, detail, {"proposal_id": str(proposal_id)})


def sign_off_incomplete(missing: Sequence[str]) -> Refusal:
    """A period that cannot be signed off yet; `missing` says why, in sentences."""
    return Refusal(RefusalCode.SIGN_OFF_INCOMPLETE, " ".join(missing), {"missing": list(missing)})


def sign_off_not_found(sign_off_id: object) -> Refusal:
    """A sign-off that does not exist."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no sign-off {sign_off_id!s}.", {"sign_off_id": str(sign_off_id)})
