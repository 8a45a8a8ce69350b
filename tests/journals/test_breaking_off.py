"""What becomes of an operation that breaks off: before the books, after them, or while its accounts are locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from app.ledger.journal_sessions import JournalSession
from app.ledger.posting import Posting
from app.services.posting.contention import RETRIES
from app.services.posting.drain import Drain
from app.services.posting.journal_posting import JournalHolds
from app.services.posting.outbox import JOURNAL_PATIENCE_MS
from app.wiring.workers import build_reconciler
from tests.api.world import assert_problem
from tests.journals.world import BANK, JOURNALS, JournalWorld, credit, debit, journal


class Killed(Exception):
    """The process ends here."""


def later(drain: Drain) -> Drain:
    """The same drain when the patience with journals is over."""
    now_ms = drain._reader._now_ms
    drain._reader._now_ms = lambda: now_ms() + JOURNAL_PATIENCE_MS
    return drain


@contextmanager
def killed_at(owner: type, verb: str) -> Iterator[None]:
    """The process dies whenever it comes to this verb of a class."""
    original = getattr(owner, verb)

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    setattr(owner, verb, killed)
    try:
        yield
    finally:
        setattr(owner, verb, original)


def broken_off(world: JournalWorld, body: dict[str, Any]) -> None:
    """Post a journal while the process dies: nobody hears an answer of worth."""
    assert_problem(world.post(JOURNALS, body), 500, "internal_error", retryable=True)


def test_holds_left_behind_before_the_books_go_after_a_while(world: JournalWorld) -> None:
    first, second = world.wallets(2, 100)
    world.account("bob")
    body = journal(debit(first, 100), debit(second, 50), credit(BANK, 150))
    with killed_at(JournalSession, "posting_journal"):
        broken_off(world, body)
    assert world.intents() == 2
    assert (world.balance(first)["held_minor"], world.balance(second)["held_minor"]) == (100, 50)
    world.drain.run_once()
    assert world.intents() == 2, "it may still be on its way"
    assert_problem(world.pay(first, "bob", 1), 422, "insufficient_funds")
    assert later(world.drain).run_once().rejected == 2
    assert [world.balance(one)["available_minor"] for one in (first, second)] == [100, 100]
    world.proven()
    assert world.post(JOURNALS, body).status_code == 201, "the external_id was not used up"
    world.proven()


def test_a_reconciliation_meanwhile_finds_every_hold_explained(world: JournalWorld) -> None:
    [wallet] = world.wallets(1, 100)
    with killed_at(JournalSession, "posting_journal"):
        broken_off(world, journal(debit(wallet, 100), credit(BANK, 100)))
    assert build_reconciler(world.settings).run(full=True).breaks == []


def test_payments_go_on_around_holds_that_were_left_behind(world: JournalWorld) -> None:
    first, second = world.wallets(2, 100)
    with killed_at(JournalSession, "posting_journal"):
        broken_off(world, journal(debit(first, 60), debit(second, 60), credit(BANK, 120)))
    payment_id = world.pay(first, second, 40).get_json()["payment_id"]
    assert world.drain.run_once().posted == 1
    assert world.get(f"/v1/payments/{payment_id}").get_json()["status"] == "posted"
    assert world.intents() == 2
    later(world.drain)
    world.drained()
    world.proven()


@pytest.mark.parametrize("guarded", [True, False])
def test_what_is_in_the_books_and_not_in_the_cache_is_settled_by_the_drain(world: JournalWorld, guarded: bool) -> None:
    first, second = world.wallets(2, 100)
    world.balance(BANK)
    entries = [debit(first, 60), debit(second, 60), credit(BANK, 120)]
    if not guarded:
        entries = [credit(first, 60), credit(second, 60), debit(BANK, 120)]
    body = journal(*entries)
    with killed_at(JournalHolds, "settle"):
        broken_off(world, body)
    assert world.intents() == (2 if guarded else 1)
    assert world.balance(first)["balance_minor"] == 100, "the cache has not heard of it"
    replay = world.post(JOURNALS, body)
    assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (200, "true")
    assert later(world.drain).run_once().posted == (2 if guarded else 1)
    assert [world.balance(one)["balance_minor"] for one in (first, second)] == [40 if guarded else 160] * 2
    world.proven()


def test_a_settle_that_reaches_only_some_partitions_is_finished_by_the_drain(world: JournalWorld) -> None:
    wallets = world.wallets(4, 100)
    world.balance(BANK)
    outbox = world.services.cache.outbox
    settle, calls = type(outbox).settle, []

    def once(self: Any, *args: Any, **more: Any) -> None:
        calls.append(args)
        if len(calls) > 1:
            raise Killed
        settle(self, *args, **more)

    type(outbox).settle = once  # type: ignore[method-assign]
    try:
        broken_off(world, journal(*(debit(one, 60) for one in wallets), credit(BANK, 240)))
    finally:
        type(outbox).settle = settle  # type: ignore[method-assign]
    assert world.intents() in (3, 4)
    later(world.drain)
    world.drained()
    world.proven()


def test_the_drain_and_a_late_journal_never_both_have_their_way(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain gives up the holds between the journal's reserving and its posting."""
    first, second = world.wallets(2, 100)
    hold = JournalHolds.hold
    later(world.drain)

    def overtaken(self: JournalHolds, *args: Any, **how: Any) -> Any:
        held = hold(self, *args, **how)
        world.drain.run_once()
        return held

    body = journal(debit(first, 60), debit(second, 60), credit(BANK, 120))
    monkeypatch.setattr(JournalHolds, "hold", overtaken)
    answer = world.post(JOURNALS, body)
    monkeypatch.undo()
    assert_problem(answer, 503, "concurrency_retry_exhausted", retryable=True)
    assert world.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'journal'") == [(0,)]
    assert [world.balance(one)["available_minor"] for one in (first, second)] == [100, 100]
    assert world.post(JOURNALS, body).status_code == 201
    world.proven()


def test_a_lock_held_elsewhere_ends_the_retries_and_costs_nothing(world: JournalWorld) -> None:
    world.funded("alice", 100)
    poster = world.services.journals.poster
    slept: list[float] = []
    poster.sleep = slept.append
    body = journal(debit("alice", 70), credit(BANK, 70))
    with world.held_lock("alice"):
        assert_problem(world.post(JOURNALS, body), 503, "concurrency_retry_exhausted", retryable=True)
    assert len(slept) == RETRIES
    assert world.sql("SELECT retries, exhausted FROM conflict_count WHERE account_id = 'alice'") == [(RETRIES, 1)]
    assert world.balance("alice")["available_minor"] == 100
    assert world.post(JOURNALS, body).status_code == 201
    world.proven()


def test_without_the_cache_nothing_is_posted(world: JournalWorld) -> None:
    world.funded("alice", 100)
    body = journal(debit("alice", 70), credit(BANK, 70))
    broken = type(world)(world.with_settings(redis_url="redis://127.0.0.1:1/0").settings)
    assert_problem(broken.post(JOURNALS, body), 503, "cache_unavailable", retryable=True)
    assert world.post(JOURNALS, body).status_code == 201
    world.proven()


def test_an_empty_cache_is_no_obstacle(world: JournalWorld) -> None:
    wallets = world.wallets(3, 100)
    world.cache.flushdb()
    world.posted(*(debit(one, 100) for one in wallets), credit(BANK, 300))
    world.proven()


def test_serializability_decides_where_neither_sees_the_other(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain gives up the holds when the journal's snapshot is taken already, and its locks are not."""
    first, second = world.wallets(2, 100)
    later(world.drain)
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
    world.proven()
