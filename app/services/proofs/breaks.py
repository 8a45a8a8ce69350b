"""Breaks and what people do about them: look after one, say why it is there, comment, and settle it.

Whatever finds a difference opens its break in its own transaction, with `open_break` of `app/ledger/break_records.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.domain.actors import USER_ACTOR
from app.domain.break_workflow import (
    AgeingLine,
    BreakChange,
    BreakCount,
    BreakEvent,
    BreakFilter,
    BreakRecord,
    BreakState,
    break_not_found,
)
from app.domain.refusals import Refusal, RefusalCode
from app.domain.users import Role, User

if TYPE_CHECKING:
    from datetime import datetime

    from app.ledger.breaks import LedgerBreaks


@dataclass(slots=True, frozen=True)
class BreakHistory:
    """A break with all that has become of it, oldest first."""

    record: BreakRecord
    events: list[BreakEvent]


class Breaks:
    """Breaks, for readers and for those who work on them."""

    def __init__(self, ledger: LedgerBreaks, users: Callable[[], list[User]]) -> None:
        """`users` are all people there are; those who may work on breaks can own one."""
        self._ledger = ledger
        self._users = users

    def get(self, break_id: int) -> BreakHistory | None:
        """One break with its history; None if there is none."""
        record = self._ledger.get(break_id)
        return None if record is None else BreakHistory(record, self._ledger.events(break_id))

    def page(self, wanted: BreakFilter, *, limit: int, after: int = 0) -> list[BreakRecord]:
        """A page of breaks in the order in which they were found."""
        return self._ledger.page(wanted, limit=limit, after=after)

    def due_first(self, wanted: BreakFilter, *, limit: int) -> tuple[list[BreakRecord], int]:
        """Up to `limit` breaks, the next due first, settled ones last; and how many there are."""
        return self._ledger.due_first(wanted, limit=limit)

    def ageing(self, now: datetime, entity_id: str | None = None) -> list[AgeingLine]:
        """Open breaks by account, currency and age."""
        return self._ledger.ageing(now, entity_id)

    def counts(self) -> list[BreakCount]:
        """How many there are, by source, kind and state."""
        return self._ledger.counts()

    def owners(self) -> list[str]:
        """Those who may own a break: people who may work on one."""
        return [
            user.user_id for user in self._users() if user.disabled_at is None and user.role.may_act_as(Role.ACCOUNTANT)
        ]

    def change(self, break_id: int, change: BreakChange, actor: str) -> BreakHistory | Refusal:
        """Make a change and record it with who made it. Who begins to investigate what nobody owns, owns it."""
        owner = change.fields.get("owner")
        if owner is not None and owner not in self.owners():
            detail = f"{owner!r} is nobody who may own a break: a user with the role accountant or a higher one may."
            return Refusal(RefusalCode.BREAK_INCOMPLETE, detail, {"break_id": str(break_id), "field": "owner"})
        if change.fields.get("state") is BreakState.INVESTIGATING and "owner" not in change.fields:
            change = self._owned(break_id, change, actor)
        outcome = self._ledger.change(break_id, change, actor)
        if outcome is None:
            return break_not_found(str(break_id))
        if isinstance(outcome, Refusal):
            return outcome
        return BreakHistory(outcome, self._ledger.events(break_id))

    def _owned(self, break_id: int, change: BreakChange, actor: str) -> BreakChange:
        record = self._ledger.get(break_id)
        if record is None or record.owner is not None or not actor.startswith(USER_ACTOR):
            return change
        return replace(change, fields={**change.fields, "owner": actor.removeprefix(USER_ACTOR)})
