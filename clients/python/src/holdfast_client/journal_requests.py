"""The operations on journals and on proposals of them, described as those in `requests.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from holdfast_client import models
from holdfast_client.exchange import Request, path
from holdfast_client.ids import new_external_id
from holdfast_client.request_parts import Page, getting, given, listing, posting, reader


def post_journal(
    entries: Sequence[models.NewJournalEntry],
    reason: str,
    *,
    external_id: str | None = None,
    effective_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
    relates_to_payment_id: str | None = None,
) -> Request[models.Journal]:
    """Post entries together; debits and credits are equal in each currency."""
    body = _journal(entries, reason, external_id, effective_at, metadata, relates_to_payment_id)
    return posting("/v1/journals", body, models.Journal)


def get_journal(journal_id: str) -> Request[models.Journal]:
    """A journal or a reversal."""
    return getting(path("/v1/journals/{journal_id}", journal_id=journal_id), models.Journal)


def reverse_journal(journal_id: str, reason: str, *, external_id: str | None = None) -> Request[models.Journal]:
    """Reverse a journal, once."""
    where = path("/v1/journals/{journal_id}/reversal", journal_id=journal_id)
    return posting(where, given(external_id=external_id or new_external_id(), reason=reason), models.Journal)


# Proposals: a second person approves them on the pages


def propose_journal(
    entries: Sequence[models.NewJournalEntry],
    reason: str,
    *,
    external_id: str | None = None,
    effective_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
    relates_to_payment_id: str | None = None,
) -> Request[models.Proposal]:
    """Propose a journal; the same again answers the proposal that waits."""
    body = _journal(entries, reason, external_id, effective_at, metadata, relates_to_payment_id)
    return posting("/v1/journal-proposals", body, models.Proposal)


def propose_reversal(journal_id: str, reason: str, *, external_id: str | None = None) -> Request[models.Proposal]:
    """Propose to reverse a journal."""
    where = path("/v1/journals/{journal_id}/reversal-proposals", journal_id=journal_id)
    return posting(where, given(external_id=external_id or new_external_id(), reason=reason), models.Proposal)


def get_proposal(proposal_id: str) -> Request[models.Proposal]:
    """A proposal, and what has become of it."""
    return getting(path("/v1/journal-proposals/{proposal_id}", proposal_id=proposal_id), models.Proposal)


def list_proposals() -> Request[Page[models.Proposal]]:
    """The proposals."""
    return listing("/v1/journal-proposals", models.Proposal)


def withdraw_proposal(proposal_id: str) -> Request[models.Proposal]:
    """Take a proposal back."""
    where = path("/v1/journal-proposals/{proposal_id}/withdrawal", proposal_id=proposal_id)
    return Request("POST", where, reader(models.Proposal), repeatable=False)


def _journal(
    entries: Sequence[models.NewJournalEntry],
    reason: str,
    external_id: str | None,
    effective_at: datetime | None,
    metadata: Mapping[str, Any] | None,
    relates_to_payment_id: str | None,
) -> dict[str, Any]:
    return given(
        external_id=external_id or new_external_id(),
        entries=list(entries),
        reason=reason,
        effective_at=effective_at,
        metadata=metadata,
        relates_to_payment_id=relates_to_payment_id,
    )
