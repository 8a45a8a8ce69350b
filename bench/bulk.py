"""Fills a ledger quickly: accounts by COPY, payments by the project's own planning and posting, so chains are valid."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from app.domain.accounts import AccountType, normal_sign
from app.domain.ledger_rows import QueuedIntent
from app.domain.payment import OutboxPosition, PaymentRequest, partition_of
from app.domain.payment_checks import prepare
from app.domain.posting_plan import plan_posting
from app.ledger.accounts import LedgerAccounts
from app.ledger.posting_session import PostingSession
from app.wiring.services import build_engine
from bench.load.requests import CURRENCY
from bench.load.workload import SEED, account_id
from bench.system import CLEARING, System

BATCH = 20_000
"""Payments in one transaction: larger than the drain's, because nobody waits."""

ACTOR = "bench"
ENTITY = "default"


def add_accounts(system: System, prefix: str, count: int) -> list[str]:
    """Wallets named `<prefix>:0000000` and so on, with nothing on them; those that exist stay."""
    names = [f"{prefix}:{number:07d}" for number in range(count)]
    with psycopg.connect(system.urls.owner_database_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE fresh (account_id text) ON COMMIT DROP")
        with cursor.copy("COPY fresh FROM STDIN") as copy:
            for name in names:
                copy.write_row((name,))
        # With their audit events, which the proofs ask for.
        cursor.execute(
            """WITH made AS (
                INSERT INTO account (account_id, entity_id, type, currency_code, overdraft_limit_minor, created_by)
                SELECT account_id, %s, 'liability', %s, 0, %s FROM fresh ON CONFLICT DO NOTHING RETURNING *)
            INSERT INTO audit_event (actor, action, subject, detail)
            SELECT created_by, 'account.create', account_id, jsonb_build_object('type', type, 'currency_code',
                currency_code, 'entity_id', entity_id, 'overdraft_limit_minor', overdraft_limit_minor, 'name', name)
            FROM made""",
            (ENTITY, CURRENCY, ACTOR),
        )
        cursor.execute(
            """INSERT INTO account_balance (account_id, entity_id, currency_code, normal_sign, floor_minor)
            SELECT account_id, %s, %s, %s, 0 FROM fresh ON CONFLICT DO NOTHING""",
            (ENTITY, CURRENCY, normal_sign(AccountType.LIABILITY)),
        )
    return names


def load_payments(system: System, accounts: int, payments: int, say: Callable[[str], None]) -> None:
    """Posts `payments`: first each wallet gets money from the bank once, then the wallets trade among themselves.

    The positions lie in the past, and count up from one batch to the next, as those of the outbox do.
    """
    settings = system.settings
    ledger = PostingSession(settings.database_url)
    register = LedgerAccounts(build_engine(settings, "bench"), settings.partitions)
    draw = random.Random(SEED)
    first = datetime.now(UTC) - timedelta(days=1)
    for start in range(0, payments, BATCH):
        numbers = range(start, min(payments, start + BATCH))
        requests = [_request(number, accounts, draw) for number in numbers]
        _post(system, ledger, register, requests, int(first.timestamp() * 1000) + start // BATCH)
        if start // BATCH % 25 == 0:
            say(f"growth: {start:,} of {payments:,} payments are in the ledger")
    ledger.close()
    system.database.execute("VACUUM ANALYZE")


def _request(number: int, accounts: int, draw: random.Random) -> PaymentRequest:
    funding = number < accounts
    source = CLEARING if funding else account_id(draw.randrange(accounts))
    destination = account_id(number if funding else draw.randrange(accounts))
    if source == destination:
        destination = account_id((int(source.rpartition(":")[2]) + 1) % accounts)
    amount = 10**9 if funding else draw.randint(1, 100)
    return PaymentRequest(f"load-{number}", source, destination, amount, CURRENCY)


def _post(
    system: System, ledger: PostingSession, register: LedgerAccounts, requests: Sequence[PaymentRequest], at_ms: int
) -> None:
    wanted = {one.source_account_id for one in requests} | {one.destination_account_id for one in requests}
    facts = register.facts(wanted)
    queued = []
    for sequence, request in enumerate(requests):
        intent = prepare(request, facts, ACTOR)
        partition = partition_of(intent.guarded_account_id, system.settings.partitions)
        queued.append(QueuedIntent(OutboxPosition(partition, f"{at_ms}-{sequence}"), intent))
    with ledger.posting(sorted({one.outbox_position.partition for one in queued})) as posting:
        balances, contended = posting.lock_balances(sorted(wanted))
        assert not contended, "nobody else posts while the ledger is loaded"
        posted_at = posting.posting_time(balances)
        plan = plan_posting(queued, {}, set(), balances, posting.heads, posted_at)
        assert not plan.rejections, plan.rejections[0]
        posting.write(plan)
