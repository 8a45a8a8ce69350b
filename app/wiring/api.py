"""Wiring of the API: builds every service that it serves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from app.api.client_address import ClientAddresses
from app.api.context import ApiServices
from app.api.metrics import AUDIT_WAITING, measured
from app.cache.client import blocking_client
from app.cache.notifications import Subscriber
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.accounts import LedgerAccounts
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.audit_reads import AuditReads
from app.ledger.audit_records import LedgerAudit
from app.ledger.engine import rows_of
from app.ledger.evidence import LedgerEvidence
from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.history import History
from app.ledger.journal_proposals import LedgerJournalProposals
from app.ledger.operations import LedgerOperations
from app.ledger.proof_history import LedgerProofHistory
from app.ledger.sign_offs import LedgerSignOffs
from app.ledger.statements import LedgerStatements
from app.ledger.transactions import LedgerTransactions
from app.ledger.visibility import LedgerVisibility
from app.services.access.api_keys import Gatekeeper
from app.services.access.call_recorder import CallRecorder
from app.services.access.key_administration import KeyAdministration
from app.services.access.visibility import Visibility
from app.services.accounts.accounts import Accounts
from app.services.events.feed import Feed
from app.services.payments.batches import Batches, Pacing
from app.services.payments.durable_wait import WaitingRoom
from app.services.payments.refunds import Refunds
from app.services.posting.journal_approval import JournalApproval
from app.services.posting.journals import Journals
from app.services.posting.operations import Operations
from app.services.proofs.cache_identity import CacheIdentityWatch
from app.services.proofs.evidence import Evidence
from app.services.proofs.financial_statements import FinancialStatements
from app.settings import Settings
from app.wakeup import Bell, WakeUps
from app.wiring.cache import build_cache
from app.wiring.events import build_endpoints, build_event_feed, build_monitors
from app.wiring.evidence import head_signer
from app.wiring.proofs import build_breaks, build_proof_requests
from app.wiring.services import (
    REPORT_S,
    build_assets,
    build_changes,
    build_engine,
    build_payments,
    build_poster,
    build_readiness,
)
from app.wiring.statements import build_imports, build_match_decisions, build_matching
from app.wiring.workers import wall_clock_ms

LOOK_UP_S = 3.0
"""The longest time for a query of a request. Queries take milliseconds, and a client does not wait long to pay."""

WAITERS = 48
"""Requests of one process that may wait for the ledger at once; the other threads stay free for other requests."""


def build_api(settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> ApiServices:
    """Build what the API serves. Batches, journals and account changes call `sleep` before they try again."""
    engine = build_engine(settings, "api", LOOK_UP_S)
    cache = build_cache(settings, "api")
    accounts = LedgerAccounts(engine, settings.partitions)
    history = History(engine)
    room = WaitingRoom(WAITERS)
    wake = Bell(WakeUps(settings.queue_url).drain).ring
    paying = build_payments(settings, cache, accounts, history, room, wake)
    register = LedgerTransactions(engine)
    poster = build_poster(settings, cache, register, paying, sleep=sleep)
    refunds = Refunds(cache, register, paying.finder, paying.durable_wait, poster)
    journals = Journals(register, paying.directory, poster, refunds.posted_payment, settings.journal_approval)
    approval = JournalApproval(LedgerJournalProposals(engine), journals, settings.journal_approval)
    reports = build_engine(settings, "reports", REPORT_S)
    api_keys = LedgerApiKeys(engine)
    gatekeeper = Gatekeeper(api_keys, time.monotonic)
    records = LedgerAudit(settings.database_url)
    recorder = CallRecorder(records, wall_clock_ms, time.monotonic_ns, cache.audit_tallies.add, AUDIT_WAITING.set)
    subscription = blocking_client(settings.redis_url, decode_responses=True, name="holdfast-subscriber")
    now = partial(datetime.now, UTC)
    heads = head_signer(settings, rows_of(reports))
    feed = Feed(build_event_feed(build_engine(settings, "events")))
    return ApiServices(
        accounts=Accounts(accounts, build_assets(engine)),
        changes=build_changes(
            LedgerAccountChanges(engine),
            cache,
            paying.balances,
            sleep=sleep,
            release_due=paying.authorizations.release_due,
        ),
        assets=build_assets(engine),
        directory=paying.directory,
        balances=paying.balances,
        payments=paying.payments,
        finder=paying.finder,
        durable_wait=paying.durable_wait,
        authorizations=paying.authorizations,
        batches=Batches(paying.payments, paying.atomic_batches, Pacing(cache.outbox.backlog, sleep), sleep=sleep),
        journals=journals,
        approval=approval,
        refunds=refunds,
        history=History(reports),
        audit=AuditReads(reports),
        statements=LedgerStatements(reports),
        proofs=LedgerProofHistory(reports),
        breaks=build_breaks(reports),
        proof_requests=build_proof_requests(reports, cache, Bell(WakeUps(settings.queue_url).reconcile).ring),
        imports=build_imports(settings),
        matching=build_matching(settings),
        match_decisions=build_match_decisions(engine, journals, approval),
        sign_offs=LedgerSignOffs(reports),
        cache=cache,
        gatekeeper=gatekeeper,
        keys=KeyAdministration(api_keys, cache.revocations, gatekeeper.revoke),
        visibility=Visibility(cache, LedgerVisibility(engine)),
        readiness=build_readiness(settings, engine, cache, paying.identity, accounts),
        recorder=recorder,
        addresses=ClientAddresses(settings.trusted_proxies),
        heads=heads,
        evidence=Evidence(LedgerEvidence(rows_of(reports)), heads, paying.finder),
        financial_statements=FinancialStatements(LedgerFinancialStatements(reports), now),
        operations=Operations(LedgerOperations(reports), cache, now),
        now=now,
        feed=feed,
        endpoints=build_endpoints(settings, engine),
        monitors=build_monitors(engine),
        measured=partial(measured, settings.metrics_dir),
        stop=partial(_stop, recorder, feed),
        start=partial(
            _start,
            recorder,
            Subscriber(subscription, room.hear, room.begin, gatekeeper.revoke),
            CacheIdentityWatch(paying.identity.check),
        ),
    )


def _stop(recorder: CallRecorder, feed: Feed) -> None:
    feed.stop()
    recorder.stop()


def _start(recorder: CallRecorder, subscriber: Subscriber, watch: CacheIdentityWatch) -> None:
    recorder.start()
    subscriber.start()
    watch.start()
