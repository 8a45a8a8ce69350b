"""Wiring of statements: the readers of foreign formats, and what keeps the result."""

from functools import cache, partial

from sqlalchemy import Engine

from app.domain.statement import Reader
from app.domain.statement_source import StatementFormat
from app.ledger.connections import SessionLimits, connect
from app.ledger.match_reads import LedgerMatchReads
from app.ledger.matches import LedgerMatches
from app.ledger.matching_run import LedgerMatching
from app.ledger.statement_accounts import LedgerStatementAccounts
from app.ledger.statement_import import LedgerStatementImport
from app.ledger.statements import LedgerStatements
from app.services.posting.journal_approval import JournalApproval
from app.services.posting.journals import Journals
from app.services.statements.imports import StatementImports
from app.services.statements.match_decisions import MatchDecisions
from app.services.statements.matching import Matching
from app.settings import Settings
from app.statements.amounts import WITHDRAWN
from app.statements.camt import read_camt
from app.statements.mapped_csv import read_mapped_csv
from app.statements.mt940 import read_mt940
from app.statements.ofx import read_ofx
from app.statements.stripe import read_stripe
from app.wiring.services import build_assets, build_engine

READERS: dict[StatementFormat, Reader] = {
    StatementFormat.STRIPE: read_stripe,
    StatementFormat.CAMT: read_camt,
    StatementFormat.MT940: read_mt940,
    StatementFormat.OFX: read_ofx,
    StatementFormat.CSV: read_mapped_csv,
}

IMPORT_IDLE_S = 600.0
"""How long an import may say nothing within its transaction; nobody but imports of the same source waits for it."""


def build_statements(settings: Settings) -> LedgerStatements:
    """Sources and statements in the ledger."""
    return LedgerStatements(build_engine(settings, "statements"))


def build_matching(settings: Settings) -> Matching:
    """Matching with the ledger. A run over a million entries takes half a minute, so it has no time limit."""
    limits = SessionLimits(statement_timeout_s=0, idle_in_transaction_s=IMPORT_IDLE_S)
    opened = partial(connect, settings.database_url, application_name="holdfast matching", limits=limits)
    accounts = LedgerStatementAccounts(build_engine(settings, "statements"))
    return Matching(accounts, LedgerMatching(opened))


def build_match_decisions(engine: Engine, journals: Journals, approval: JournalApproval) -> MatchDecisions:
    """What people decide about matches."""
    accounts = LedgerStatementAccounts(engine)
    return MatchDecisions(accounts, LedgerMatches(engine), LedgerMatchReads(engine), journals, approval)


def build_imports(settings: Settings) -> StatementImports:
    """The import of files. A large one takes minutes, so its statements have no time limit."""
    limits = SessionLimits(statement_timeout_s=0, idle_in_transaction_s=IMPORT_IDLE_S)
    opened = partial(connect, settings.database_url, application_name="holdfast statement import", limits=limits)
    assets = build_assets(build_engine(settings, "statements"))

    @cache
    def minor_units(currency_code: str) -> int | None:
        asset = assets.get(currency_code)
        return WITHDRAWN.get(currency_code) if asset is None else asset.minor_units

    return StatementImports(LedgerStatementImport(opened), READERS, minor_units)
