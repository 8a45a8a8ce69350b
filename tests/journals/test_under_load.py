"""Journals and refunds while payments of the same accounts are drained."""

from functools import partial
from threading import Event, Thread

from werkzeug.test import TestResponse

from app.wiring import build_drain
from tests.journals.world import BANK, JOURNALS, JournalWorld, at_once, credit, debit, journal

CLIENTS = 8
ROUNDS = 6


def test_journals_and_payments_of_the_same_accounts_leave_exact_books(world: JournalWorld) -> None:
    """Each is answered as posted, or refused with nothing moved; and the proofs hold afterwards."""
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
            answer = world.post(JOURNALS, body)
            assert answer.status_code in (201, 503), answer.text
        return answer

    try:
        at_once([partial(client, n) for n in range(CLIENTS)])
    finally:
        ended.set()
        worker.join()
    world.drained()
    [(journals,)] = world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'")
    assert journals >= CLIENTS * ROUNDS // 2, "most get through"
    assert sum(world.balance(one)["balance_minor"] for one in wallets) == 3_000 - journals
    world.proven()
