"""Saved sources of statements: a name, a format, and how its files are to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.statement_source import StatementSource, check_name

if TYPE_CHECKING:
    from app.ledger.statements import LedgerStatements


def save_source(ledger: LedgerStatements, wanted: StatementSource, actor: str) -> tuple[StatementSource, bool]:
    """Save a source, as a new version where it differs; raises InvalidOptions. Returns it, and whether it is new."""
    check_name(wanted.name)
    wanted.options()
    return ledger.add_source(wanted, actor)
