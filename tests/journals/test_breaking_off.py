"""What becomes of an operation that breaks off: before the posting, after it, or while its accounts are locked."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.cache.outbox import Outbox
from app.ledger.journal_sessions import JournalSession
from app.ledger.locked_posting import Posting
from app.services.posting.contention import RETRIES
from app.services.posting.drain import Drain
from app.services.posting.outbox import JOURNAL_PATIENCE_MS
from app.wiring.workers import build_drain, wall_clock_ms
from tests.api.world import assert_problem
from tests.installation import breaks_of
from tests.journals.world import BANK, JOURNALS, JournalWorld, credit, debit, journal


class Killed(Exception):
    """The process ends here."""


def later(world: JournalWorld) -> Drain:
    """The world's drain from now on: its patience with journals is over."""
    world.drain = build_drain(world.settings, now_ms=lambda: wall_clock_ms() + JOURNAL_PATIENCE_MS)
    return world.drain


def broken_off(world: JournalWorld, body: dict[str, Any], *, at: tuple[type, str]) -> None:
    """Post a journal whose process dies when it comes to this verb: the client gets no useful answer."""

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*at, killed)
        assert_problem(world.post(JOURNALS, body), 500, "internal_error", retryable=True)


POSTING = (JournalSession, "posting_journal")
"""The transaction in the ledger; the holds are in the cache by then."""

SETTLING = (Outbox, "settle")
"""What follows the commit."""


def test_holds_that_a_journal_left_behind_are_released_after_a_while(world: JournalWorld) -> None:
    first, second = world.wallets(2, 100)
    world.account("bob")
    body = journal(debit(first, 100), debit(second, 50), credit(BANK, 150))
    broken_off(world, body, at=POSTING)
    assert world.intents() == 2
    assert (world.balance(first)["held_minor"], world.balance(second)["held_minor"]) == (100, 50)
    world.drain.run_once()
    assert world.intents() == 2, "it may still be on its way"
    assert_problem(world.pay(first, "bob", 1), 422, "insufficient_funds")
    assert later(world).run_once().rejected == 2
    assert [world.balance(one)["available_minor"] for one in (first, second)] == [100, 100]
    world.assert_proven()
    assert world.post(JOURNALS, body).status_code == 201, "the external_id was not used up"
    world.assert_proven()


def test_a_reconciliation_meanwhile_finds_every_hold_explained(world: JournalWorld) -> None:
    [wallet] = world.wallets(1, 100)
    broken_off(world, journal(debit(wallet, 100), credit(BANK, 100)), at=POSTING)
    assert world.holds() != {}
    assert breaks_of(world.settings) == []


def test_payments_go_on_around_holds_that_a_journal_left_behind(world: JournalWorld) -> None:
    first, second = world.wallets(2, 100)
    broken_off(world, journal(debit(first, 60), debit(second, 60), credit(BANK, 120)), at=POSTING)
    payment_id = world.pay(first, second, 40).get_json()["payment_id"]
    assert world.drain.run_once().posted == 1
    assert world.get(f"/v1/payments/{payment_id}").get_json()["status"] == "posted"
    assert world.intents() == 2
    later(world)
    world.drained()
    world.assert_proven()


@pytest.mark.parametrize("guarded", [True, False])
def test_what_is_in_the_ledger_and_not_in_the_cache_is_settled_by_the_drain(world: JournalWorld, guarded: bool) -> None:
    first, second = world.wallets(2, 100)
    world.balance(BANK)
    entries = [debit(first, 60), debit(second, 60), credit(BANK, 120)]
    if not guarded:
        entries = [credit(first, 60), credit(second, 60), debit(BANK, 120)]
    body = journal(*entries)
    broken_off(world, body, at=SETTLING)
    assert world.intents() == (2 if guarded else 1)
    assert world.balance(first)["balance_minor"] == 100, "the cache has not heard of it"
    replay = world.post(JOURNALS, body)
    assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (200, "true")
    assert later(world).run_once().posted == (2 if guarded else 1)
    assert [world.balance(one)["balance_minor"] for one in (first, second)] == [40 if guarded else 160] * 2
    world.assert_proven()


def test_a_settle_that_reaches_only_some_partitions_is_finished_by_the_drain(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallets = world.wallets(4, 100)
    world.balance(BANK)
    settle, calls = Outbox.settle, []

    def once(self: Outbox, *args: Any, **more: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise Killed
        settle(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "settle", once)
        answer = world.post(JOURNALS, journal(*(debit(one, 60) for one in wallets), credit(BANK, 240)))
    assert_problem(answer, 500, "internal_error", retryable=True)
    assert world.intents() in (3, 4)
    later(world)
    world.drained()
    world.assert_proven()


def test_the_drain_and_a_late_journal_never_both_have_their_way(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain gives up the holds between the journal's reserving and its posting."""
    first, second = world.wallets(2, 100)
    posting_journal = JournalSession.posting_journal
    later(world)

    def overtaken(self: JournalSession, **how: bool) -> AbstractContextManager[Posting]:
        world.drain.run_once()
        return posting_journal(self, **how)

    body = journal(debit(first, 60), debit(second, 60), credit(BANK, 120))
    with monkeypatch.context() as patch:
        patch.setattr(JournalSession, "posting_journal", overtaken)
        answer = world.post(JOURNALS, body)
    assert_problem(answer, 503, "concurrency_retry_exhausted", retryable=True)
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    assert [world.balance(one)["available_minor"] for one in (first, second)] == [100, 100]
    assert world.post(JOURNALS, body).status_code == 201
    world.assert_proven()


def test_a_lock_held_elsewhere_ends_the_retries_and_costs_nothing(world: JournalWorld) -> None:
    slept: list[float] = []
    world = replace(world, sleep=slept.append)
    world.funded("alice", 100)
    body = journal(debit("alice", 70), credit(BANK, 70))
    with world.held_lock("alice"):
        assert_problem(world.post(JOURNALS, body), 503, "concurrency_retry_exhausted", retryable=True)
    assert len(slept) == RETRIES
    assert world.sql("SELECT retries, exhausted FROM conflict_count WHERE account_id = 'alice'") == [(RETRIES, 1)]
    assert world.balance("alice")["available_minor"] == 100
    assert world.post(JOURNALS, body).status_code == 201
    world.assert_proven()


def test_without_the_cache_nothing_is_posted(world: JournalWorld) -> None:
    world.funded("alice", 100)
    body = journal(debit("alice", 70), credit(BANK, 70))
    broken = world.with_settings(redis_url="redis://127.0.0.1:1/0")
    assert_problem(broken.post(JOURNALS, body), 503, "cache_unavailable", retryable=True)
    assert world.post(JOURNALS, body).status_code == 201
    world.assert_proven()


def test_a_journal_is_posted_over_an_empty_cache(world: JournalWorld) -> None:
    wallets = world.wallets(3, 100)
    world.cache.flushdb()
    world.posted(*(debit(one, 100) for one in wallets), credit(BANK, 300))
    assert [world.balance(one)["balance_minor"] for one in wallets] == [0] * 3
    world.assert_proven()


def test_serializability_decides_when_neither_sees_the_other(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain gives up the holds when the journal's snapshot is taken already, and its locks are not."""
    first, second = world.wallets(2, 100)
    later(world)
    original = JournalSession.posting_journal
    rejected: list[int] = []

    @contextmanager
    def overtaken(self: JournalSession, **how: bool) -> Iterator[Posting]:
        with original(self, **how) as posting:
            rejected.append(world.drain.run_once().rejected)
            yield posting

    monkeypatch.setattr(JournalSession, "posting_journal", overtaken)
    answer = world.post(JOURNALS, journal(debit(first, 60), debit(second, 60), credit(BANK, 120)))
    assert_problem(answer, 503, "concurrency_retry_exhausted", retryable=True)
    assert rejected == [2, 0], "the first try was aborted, the second saw why"
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    world.assert_proven()
