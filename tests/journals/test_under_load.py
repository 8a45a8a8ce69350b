"""Journals and refunds while payments of the same accounts are drained."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Barrier, Event, Thread

from werkzeug.test import TestResponse

from app.domain.errors import ConcurrencyConflict
from app.ledger.posting_session import PostingSession
from app.wiring.workers import build_drain
from tests.journals.world import BANK, JOURNALS, JournalWorld, at_once, credit, debit, journal

CLIENTS = 8
ROUNDS = 6


@contextmanager
def hogging(world: JournalWorld, account_id: str) -> Iterator[None]:
    """Drains that hold an account's row all the time: the next one begins when the last one ends."""
    ended, begun = Event(), Barrier(3)

    def hog() -> None:
        ledger = PostingSession(world.settings.database_url)
        first = True
        while not ended.is_set():
            with ledger.draining([0]) as held:
                if held:
                    with suppress(ConcurrencyConflict), ledger.posting([0]) as posting:  # a drain tries again, too
                        posting.lock_balances([account_id])
                        time.sleep(0.03)
            if first:
                begun.wait()
                first = False
        ledger.close()

    threads = [Thread(target=hog) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_journal_gets_its_turn_on_an_account_that_is_drained_all_the_time(world: JournalWorld) -> None:
    world.funded("alice", 1_000)
    with hogging(world, "alice"):
        answers = [world.post(JOURNALS, journal(debit("alice", 1), credit(BANK, 1))) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [201] * 20
    assert world.sql("SELECT retries > 0 FROM conflict_count WHERE account_id = 'alice'") == [(True,)]
    world.assert_proven()


def test_journals_and_payments_of_the_same_accounts_leave_an_exact_ledger(world: JournalWorld) -> None:
    """Each is posted once, and answered so or with nothing moved before; and the proofs hold afterwards."""
    wallets = world.wallets(3, 1_000)
    ended = Event()
    drain = build_drain(world.settings)

    def drain_on() -> None:
        while not ended.wait(0.005):
            drain.run_once()

    worker = Thread(target=drain_on)
    worker.start()

    def client(n: int) -> TestResponse:
        for _ in range(ROUNDS):
            assert world.pay(wallets[n % 3], wallets[(n + 1) % 3], 1).status_code == 201
            body = journal(debit(wallets[n % 3], 2), credit(wallets[(n + 2) % 3], 1), credit(BANK, 1))
            while (answer := world.post(JOURNALS, body)).status_code == 503:
                pass  # its retries were used up and nothing was moved: it says so, and to come again
            assert answer.status_code in (200, 201), answer.text
        return answer

    try:
        at_once([partial(client, n) for n in range(CLIENTS)])
    finally:
        ended.set()
        worker.join()
    world.drained()
    [(journals,)] = world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'")
    assert journals == CLIENTS * ROUNDS
    assert sum(world.balance(one)["balance_minor"] for one in wallets) == 3_000 - journals
    world.assert_proven()
