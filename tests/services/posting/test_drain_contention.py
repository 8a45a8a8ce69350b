"""Rows that somebody else locks or changes: deferred, tried again, counted and announced."""

from app.domain.payment import stream_id_order
from app.services.payments.durable_wait import Answer, ordered_notice
from app.services.posting.contention import LONGEST_DELAY_S, RETRIES
from tests.services.faults import (
    InterruptedSession,
)
from tests.services.posting.notices import notices
from tests.world import World


def test_an_account_locked_elsewhere_is_deferred_counted_announced_and_posted_once_free(funded: World) -> None:
    funded.account("hot")
    free = [funded.accepted("alice", "bob", 10) for _ in range(2)]
    stuck = funded.accepted("alice", "hot", 5)
    free.append(funded.accepted("alice", "bob", 10))

    with notices(funded) as heard:
        with funded.connect() as other, other.transaction():
            other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
            report = funded.worker.run_once()
            assert (report.posted, report.deferred, report.exhausted) == (3, 1, 0)
            assert sorted(heard().done) == [one.outbox_position.stream_id for one in free]
            assert funded.conflicts() == {"hot": (1, 0)}
            assert funded.worker.run_once().conflicts == 0  # its delay is not over: it is not even tried
            assert funded.conflicts() == {"hot": (1, 0)}

            reports = []
            for _ in range(RETRIES - 1):
                funded.clock.now += LONGEST_DELAY_S
                reports.append(funded.worker.run_once())
            assert [one.exhausted for one in reports] == [0] * (RETRIES - 2) + [1]
            assert funded.conflicts() == {"hot": (RETRIES, 1)}
            exhausted = heard()
            assert (exhausted.exhausted, exhausted.done, exhausted.up_to) == ([stuck.outbox_position.stream_id], [], "")
            assert funded.cached("alice").funds.held_minor == 5  # still acknowledged, still held

        funded.clock.now += LONGEST_DELAY_S
        assert funded.worker.run_once().posted == 1
        assert ordered_notice(heard()).answer(stream_id_order(stuck.outbox_position.stream_id)) is Answer.POSTED
    assert (funded.booked("hot"), funded.booked("bob")) == (5, 30)
    funded.assert_proven()


def test_an_intent_on_a_locked_account_stays_queued_while_later_ones_are_posted(funded: World) -> None:
    funded.account("hot")
    funded.account("carol", balance_minor=100)
    first = funded.accepted("alice", "hot", 5)
    for _ in range(12):
        funded.accepted("alice", "bob", 1)
    small = funded.new_drain(batch_limit=4)  # so that later rounds pass over what an earlier one found locked
    with funded.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'hot' FOR UPDATE")
        while small.run_once().settled:
            pass
        assert funded.booked("bob") == 12
        assert [one.outbox_position.stream_id for one in funded.cache.outbox.read(first.outbox_position.partition)] == [
            first.outbox_position.stream_id
        ]
    funded.clock.now += LONGEST_DELAY_S
    funded.drain(small)
    funded.assert_proven()


def test_a_row_changed_under_the_posting_is_tried_again_and_counted_by_account(funded: World) -> None:
    funded.accepted("alice", "bob", 10)
    interruptions = iter(["alice", "bob"])

    def change() -> None:
        account_id = next(interruptions, None)
        if account_id:
            funded.owner.execute("UPDATE account_balance SET updated_at = now() WHERE account_id = %s", (account_id,))

    drain = funded.new_drain(ledger=InterruptedSession(funded.new_posting_session(), change))
    report = drain.run_once()
    assert (report.posted, report.conflicts) == (1, 2)
    assert funded.conflicts() == {"alice": (1, 0), "bob": (1, 0)}
    assert len(funded.clock.slept) == 2
    funded.assert_proven()


def test_endless_conflicts_are_given_up_announced_and_counted_and_lose_nothing(funded: World) -> None:
    stuck = funded.accepted("alice", "bob", 10)

    def change() -> None:
        funded.owner.execute("UPDATE account_balance SET updated_at = now() WHERE account_id = 'alice'")

    drain = funded.new_drain(ledger=InterruptedSession(funded.new_posting_session(), change))
    with notices(funded) as heard:
        report = drain.run_once()
        assert heard().exhausted == [stuck.outbox_position.stream_id]
    assert (report.posted, report.conflicts, report.exhausted) == (0, RETRIES, 1)
    assert funded.conflicts() == {"alice": (RETRIES, 1)}
    assert funded.clock.slept == sorted(funded.clock.slept)
    assert funded.drain().posted == 1
    funded.assert_proven()
