"""The operations on what banks and processors state, and on matching it, described as those in `requests.py`.

Days are texts such as 2026-01-31.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.request_parts import Page, getting, given, listing, listing_whole, posting

Rules: TypeAlias = Sequence[models.NewMatchingRule | Mapping[str, Any]]
"""Rules of matching, in their order."""

# Sources and statements


def save_statement_source(
    name: str,
    format: Literal["camt", "csv", "mt940", "ofx", "stripe"],
    *,
    options: Mapping[str, Any] | None = None,
) -> Request[models.StatementSource]:
    """Say who states, and how its files are written; the same again answers it."""
    body = given(name=name, format=format, options=options)
    return posting("/v1/statement-sources", body, models.StatementSource)


def list_statement_sources() -> Request[Page[models.StatementSource]]:
    """The sources."""
    return listing_whole("/v1/statement-sources", models.StatementSource)


def import_statement(
    source_name: str,
    file_name: str,
    content: bytes,
    *,
    trial: bool | None = None,
    accepts_differences: bool | None = None,
) -> Request[models.StatementImport]:
    """Import a file; the same file again changes nothing. `trial`: read and judge it, and store nothing."""
    body = given(
        source_name=source_name,
        file_name=file_name,
        content=b64encode(content).decode(),
        trial=trial,
        accepts_differences=accepts_differences,
    )
    return posting("/v1/statement-imports", body, models.StatementImport)


def list_statements(*, source_name: str | None = None) -> Request[Page[models.Statement]]:
    """The statements."""
    return listing("/v1/statements", models.Statement, source_name=source_name)


def get_statement(statement_id: str) -> Request[models.Statement]:
    """One statement."""
    return getting(path("/v1/statements/{statement_id}", statement_id=statement_id), models.Statement)


def list_statement_lines(statement_id: str) -> Request[Page[models.StatementLine]]:
    """The lines of a statement."""
    return listing(path("/v1/statements/{statement_id}/lines", statement_id=statement_id), models.StatementLine)


# Accounts of statements


def save_statement_account(
    source_name: str,
    account_ref: str,
    currency_code: str,
    account_id: str,
    *,
    starts_on: str | None = None,
    rules: Rules | None = None,
) -> Request[models.StatementAccount]:
    """Say which account of the ledger a statement's account is, and by which rules it is matched."""
    body = given(
        source_name=source_name,
        account_ref=account_ref,
        currency_code=currency_code,
        account_id=account_id,
        starts_on=starts_on,
        rules=None if rules is None else list(rules),
    )
    return posting("/v1/statement-accounts", body, models.StatementAccount)


def list_statement_accounts() -> Request[Page[models.StatementAccount]]:
    """The accounts of statements."""
    return listing_whole("/v1/statement-accounts", models.StatementAccount)


def get_statement_account(statement_account_id: str) -> Request[models.StatementAccount]:
    """One of them."""
    return getting(_of(statement_account_id), models.StatementAccount)


# Matches. A decision is not repeated after a lost answer: read the match, or list them, to see whether it was made


def run_matching(statement_account_id: str, *, rules: Rules | None = None) -> Request[models.MatchRun]:
    """Match by the saved rules; with other `rules` it is a trial, which stores nothing."""
    body = given(rules=None if rules is None else list(rules))
    return posting(_of(statement_account_id, "/match-runs"), body, models.MatchRun, repeatable=False)


def list_matches(
    statement_account_id: str,
    *,
    state: Literal["suggested", "matched", "undone"] | None = None,
    first_on: str | None = None,
    last_on: str | None = None,
) -> Request[Page[models.Match]]:
    """The matches of an account."""
    where = _of(statement_account_id, "/matches")
    return listing(where, models.Match, state=state, first_on=first_on, last_on=last_on)


def list_unmatched(statement_account_id: str, *, through: str | None = None) -> Request[Page[models.Unmatched]]:
    """Lines and entries without a match."""
    return listing(_of(statement_account_id, "/unmatched"), models.Unmatched, through=through)


def make_match(
    statement_account_id: str,
    line_ids: Sequence[str],
    entry_numbers: Sequence[int],
    reason: str,
    *,
    journal_account_id: str | None = None,
    accepts_difference: bool | None = None,
) -> Request[models.Match]:
    """Match by hand; a difference is posted to `journal_account_id`, or accepted."""
    body = given(
        line_ids=list(line_ids),
        entry_numbers=list(entry_numbers),
        reason=reason,
        journal_account_id=journal_account_id,
        accepts_difference=accepts_difference,
    )
    return posting(_of(statement_account_id, "/matches"), body, models.Match, repeatable=False)


def get_match(match_id: str) -> Request[models.Match]:
    """A match."""
    return getting(path("/v1/matches/{match_id}", match_id=match_id), models.Match)


def confirm_match(match_id: str, reason: str) -> Request[models.Match]:
    """Make a match of a suggestion."""
    where = path("/v1/matches/{match_id}/confirm", match_id=match_id)
    return posting(where, given(reason=reason), models.Match, repeatable=False)


def undo_match(match_id: str, reason: str) -> Request[models.Match]:
    """Undo a match or a suggestion."""
    where = path("/v1/matches/{match_id}/undo", match_id=match_id)
    return posting(where, given(reason=reason), models.Match, repeatable=False)


def split_match(
    match_id: str, line_ids: Sequence[str], entry_numbers: Sequence[int], reason: str
) -> Request[models.Match]:
    """Keep a part of a match as a match of its own."""
    body = given(line_ids=list(line_ids), entry_numbers=list(entry_numbers), reason=reason)
    return posting(path("/v1/matches/{match_id}/split", match_id=match_id), body, models.Match, repeatable=False)


def post_match_difference(match_id: str, journal_account_id: str, reason: str) -> Request[models.Match]:
    """Post what the sides of a match differ by."""
    where = path("/v1/matches/{match_id}/journal", match_id=match_id)
    body = given(journal_account_id=journal_account_id, reason=reason)
    return posting(where, body, models.Match, repeatable=False)


# Sign-off


def get_period(statement_account_id: str, last_on: str) -> Request[models.Period]:
    """Both sides of the period that is not signed yet, through a day."""
    return getting(_of(statement_account_id, "/period"), models.Period, last_on=last_on)


def sign_off(statement_account_id: str, last_on: str, *, remark: str | None = None) -> Request[models.SignOff]:
    """Sign off everything through a day."""
    body = given(last_on=last_on, remark=remark)
    return posting(_of(statement_account_id, "/sign-offs"), body, models.SignOff, repeatable=False)


def list_sign_offs(statement_account_id: str) -> Request[Page[models.SignOff]]:
    """What was signed, and opened again."""
    return listing_whole(_of(statement_account_id, "/sign-offs"), models.SignOff)


def reopen_sign_off(statement_account_id: str, sign_off_id: str, reason: str) -> Request[models.SignOff]:
    """Open the last signed period again."""
    where = _of(statement_account_id, path("/sign-offs/{sign_off_id}/reopen", sign_off_id=sign_off_id))
    return posting(where, given(reason=reason), models.SignOff, repeatable=False)


def _of(statement_account_id: str, rest: str = "") -> str:
    where = path("/v1/statement-accounts/{statement_account_id}", statement_account_id=statement_account_id)
    return where + rest
