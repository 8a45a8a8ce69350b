"""The services that the views call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.api.client_address import ClientAddresses
from app.services.access.api_keys import Gatekeeper
from app.services.access.call_recorder import CallRecorder
from app.services.access.key_administration import KeyAdministration
from app.services.access.visibility import Visibility
from app.services.accounts.accounts import Accounts
from app.services.accounts.assets import Assets
from app.services.accounts.changes import AccountChanges
from app.services.accounts.directory import AccountDirectory
from app.services.accounts.hydration import Balances
from app.services.events.endpoints import Endpoints
from app.services.events.feed import Feed
from app.services.events.monitors import Monitors
from app.services.payments.authorizations import Authorizations
from app.services.payments.batches import Batches
from app.services.payments.durable_wait import DurableWait
from app.services.payments.outcomes import PaymentFinder
from app.services.payments.refunds import Refunds
from app.services.payments.submit import Payments
from app.services.posting.journal_approval import JournalApproval
from app.services.posting.journals import Journals
from app.services.posting.operations import Operations
from app.services.proofs.breaks import Breaks
from app.services.proofs.evidence import Evidence
from app.services.proofs.financial_statements import FinancialStatements
from app.services.proofs.proof_requests import ProofRequests
from app.services.proofs.readiness import ReadinessProbe
from app.services.proofs.signed_heads import HeadSigner
from app.services.statements.imports import StatementImports
from app.services.statements.match_decisions import MatchDecisions
from app.services.statements.matching import Matching

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from app.cache.cache import Cache
    from app.ledger.audit_reads import AuditReads
    from app.ledger.history import History
    from app.ledger.proof_history import LedgerProofHistory
    from app.ledger.sign_offs import LedgerSignOffs
    from app.ledger.statements import LedgerStatements


@dataclass(slots=True)
class ApiServices:
    """What the API needs; `now` tells the time in UTC, `start` begins to listen for the ledger's answers
    and to write records, `stop` writes the last ones."""

    accounts: Accounts
    changes: AccountChanges
    assets: Assets
    directory: AccountDirectory
    balances: Balances
    payments: Payments
    finder: PaymentFinder
    durable_wait: DurableWait
    authorizations: Authorizations
    batches: Batches
    journals: Journals
    approval: JournalApproval
    refunds: Refunds
    history: History
    audit: AuditReads
    statements: LedgerStatements
    proofs: LedgerProofHistory
    breaks: Breaks
    proof_requests: ProofRequests
    imports: StatementImports
    matching: Matching
    match_decisions: MatchDecisions
    sign_offs: LedgerSignOffs
    cache: Cache
    gatekeeper: Gatekeeper
    keys: KeyAdministration
    visibility: Visibility
    readiness: ReadinessProbe
    recorder: CallRecorder
    addresses: ClientAddresses
    heads: HeadSigner
    evidence: Evidence
    financial_statements: FinancialStatements
    operations: Operations
    feed: Feed
    endpoints: Endpoints
    monitors: Monitors
    measured: Callable[[], Iterable[Metric]]
    """What the processes have measured."""
    now: Callable[[], datetime]
    start: Callable[[], None]
    stop: Callable[[], None]
