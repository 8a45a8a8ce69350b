"""Wiring of the pages: the services of the API over connections of their own, and what only people need."""

from dataclasses import replace
from time import monotonic
from typing import Any

from sqlalchemy import Engine

from app.api.context import ApiServices
from app.dashboard.context import PageServices
from app.domain.errors import Misconfigured
from app.domain.proof_history import Standing
from app.ledger.account_lists import LedgerAccountLists
from app.ledger.accounts import LedgerAccounts
from app.ledger.activity import LedgerActivity
from app.ledger.engine import rows_of
from app.ledger.evidence import LedgerEvidence
from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.history import History
from app.ledger.journal_proposals import LedgerJournalProposals
from app.ledger.journal_templates import LedgerJournalTemplates
from app.ledger.monitors import LedgerMonitors
from app.ledger.operations import LedgerOperations
from app.ledger.payment_search import LedgerPaymentSearch
from app.ledger.proof_history import LedgerProofHistory
from app.ledger.sign_offs import LedgerSignOffs
from app.ledger.statements import LedgerStatements
from app.ledger.transactions import LedgerTransactions
from app.ledger.trial_balance import LedgerTrialBalance
from app.ledger.users import LedgerSessions, LedgerUsers
from app.ledger.webhooks import LedgerWebhooks
from app.services.access.organisation import Organisation
from app.services.access.sign_in import SignIn
from app.services.accounts.accounts import Accounts
from app.services.events.feed import Feed
from app.services.posting.activity import Activity
from app.services.posting.journal_approval import JournalApproval
from app.services.posting.operations import Operations
from app.services.proofs.evidence import Evidence
from app.services.proofs.financial_statements import FinancialStatements
from app.services.proofs.fresh_figures import FreshFigures
from app.services.proofs.trial_balance import RememberedTotals, TrialBalances
from app.settings import Settings
from app.wakeup import Bell, WakeUps
from app.wiring.events import build_event_feed
from app.wiring.evidence import head_signer
from app.wiring.proofs import build_breaks, build_proof_requests
from app.wiring.services import REPORT_S, build_assets, build_engine
from app.wiring.statements import build_match_decisions

LISTED_BREAKS = 20


def build_pages(settings: Settings, api: ApiServices) -> PageServices:
    """What the pages need. They read over a pool of their own, so that no page waits in front of a payment."""
    engine = build_engine(settings, "pages")
    reports = build_engine(settings, "page reports", REPORT_S)
    assets = build_assets(engine)
    users = LedgerUsers(engine)
    accounts = Accounts(LedgerAccounts(engine, settings.partitions), assets)
    activity = Activity(LedgerActivity(engine), api.cache, api.now)
    totals = RememberedTotals()
    trial_balances = TrialBalances(LedgerTrialBalance(reports), api.now, totals)
    approval = JournalApproval(LedgerJournalProposals(engine), api.journals, settings.journal_approval)
    return PageServices(
        api=replace(
            api,
            accounts=accounts,
            assets=assets,
            history=History(engine),
            approval=approval,
            **_proofs(settings, engine, api),
            statements=LedgerStatements(engine),
            sign_offs=LedgerSignOffs(engine),
            match_decisions=build_match_decisions(engine, api.journals, approval),
            financial_statements=FinancialStatements(LedgerFinancialStatements(reports), api.now, totals),
            operations=Operations(LedgerOperations(engine), api.cache, api.now),
            feed=Feed(build_event_feed(engine)),
            evidence=Evidence(LedgerEvidence(rows_of(engine)), head_signer(settings, rows_of(engine)), api.finder),
        ),
        sign_in=SignIn(users, LedgerSessions(engine), api.now),
        lists=LedgerAccountLists(engine),
        trial_balances=trial_balances,
        fresh_figures=FreshFigures([trial_balances.freshen, activity.last_hour, activity.last_days], monotonic),
        register=LedgerTransactions(engine),
        templates=LedgerJournalTemplates(engine),
        journal_chain=settings.partitions,
        webhooks=LedgerWebhooks(engine),
        monitors=LedgerMonitors(engine),
        payment_search=LedgerPaymentSearch(engine),
        activity=activity,
        standing=lambda: _standing(LedgerProofHistory(engine)),
        organisation=_organisation(settings),
        secret=users.page_secret(),
        public_url=settings.public_url,
    )


def _proofs(settings: Settings, engine: Engine, api: ApiServices) -> dict[str, Any]:
    wake = Bell(WakeUps(settings.queue_url).reconcile).ring
    return {
        "proofs": LedgerProofHistory(engine),
        "breaks": build_breaks(engine),
        "proof_requests": build_proof_requests(engine, api.cache, wake),
    }


def _organisation(settings: Settings) -> Organisation | None:
    """The organisation's sign-in; Misconfigured if only a part of it is set."""
    parts = (settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret)
    if not any(parts):
        return None
    if not all(parts):
        raise Misconfigured("HOLDFAST_OIDC_ISSUER, _CLIENT_ID and _CLIENT_SECRET go together; set all or none.")
    return Organisation(*parts)


def _standing(history: LedgerProofHistory) -> Standing:
    return Standing(*history.last_runs(), *history.open_breaks(LISTED_BREAKS))
