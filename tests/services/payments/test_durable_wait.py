"""Waiting for the ledger: earlier answers are remembered, and the outbox is read only where one may be missing."""

import pytest

from app.domain.payment import OutboxPosition, stream_id_order
from app.domain.settlement import Notice
from app.services.payments.durable_wait import (
    HISTORY_LIMIT,
    Answer,
    DurableWait,
    NoticeHistory,
    WaitingRoom,
    ordered_notice,
)

POSTED, CHECK, EXHAUSTED = Answer.POSTED, Answer.CHECK, Answer.EXHAUSTED


@pytest.mark.parametrize(
    ("notice", "answers"),
    [
        (Notice(0, up_to="100-5"), {"99-9": POSTED, "100-5": POSTED, "100-6": None, "1000-0": None}),
        (Notice(0, up_to="100-5", refused=["100-4"]), {"100-4": CHECK, "100-5": POSTED}),
        (Notice(0, done=["100-5"]), {"100-5": POSTED, "100-4": None, "100-6": None}),
        (Notice(0, done=["100-5"], refused=["100-5"]), {"100-5": CHECK}),
        (Notice(0, exhausted=["100-5"]), {"100-5": EXHAUSTED}),
        (Notice(0), {"0-1": None}),
    ],
)
def test_a_notice_answers_the_intents_that_it_names(notice: Notice, answers: dict[str, Answer | None]) -> None:
    news = ordered_notice(notice)
    assert {stream_id: news.answer(stream_id_order(stream_id)) for stream_id in answers} == answers


def history_of(*notices: Notice, since_ms: int = 50) -> NoticeHistory:
    made = NoticeHistory(since_ms)
    for notice in notices:
        made.add(ordered_notice(notice))
    return made


def test_a_history_adds_up_its_notices() -> None:
    known = history_of(
        Notice(0, done=["100-7", "100-9"], refused=["100-9"]),
        Notice(0, up_to="100-3", refused=["100-1"]),
        Notice(0, exhausted=["100-5"]),
    )
    answers = {order: known.answer((100, order)) for order in range(1, 11)}
    assert [order for order, answer in answers.items() if answer is POSTED] == [2, 3, 7]
    assert [order for order, answer in answers.items() if answer is CHECK] == [1, 9]
    assert answers[5] is None, "its retries continue"


def test_an_older_notice_revokes_nothing() -> None:
    assert history_of(Notice(0, up_to="100-5"), Notice(0, up_to="100-2")).answer((100, 5)) is POSTED


@pytest.mark.parametrize(("order", "covered"), [((49, 9), False), ((50, 0), False), ((51, 0), True)])
def test_a_history_covers_only_what_was_accepted_after_its_beginning(order: tuple[int, int], covered: bool) -> None:
    assert history_of().covers(order) is covered


def test_a_history_with_too_many_single_stream_ids_drops_and_no_longer_covers_them() -> None:
    known = history_of(Notice(0, done=[f"100-{n}" for n in range(HISTORY_LIMIT + 1)]))
    assert not known.covers((100, 0))
    assert known.covers((101, 0))


class Outbox:
    """An outbox in which nothing is pending; it counts the look-ups."""

    def __init__(self) -> None:
        self.asked = 0

    def pending(self, outbox_position: OutboxPosition) -> None:
        self.asked += 1


def waited(room: WaitingRoom, stream_id: str, seconds: float = 0.0) -> tuple[Answer | None, int]:
    """How a wait for an intent of partition 3 ends, and how often the outbox was read."""
    outbox = Outbox()
    answer = DurableWait(outbox, room).wait(OutboxPosition(3, stream_id), seconds)
    return answer, outbox.asked


def test_a_wait_after_the_answer_ends_at_once_without_reading_the_outbox() -> None:
    room = WaitingRoom(1)
    room.begin(now_ms=50)
    room.hear(Notice(3, up_to="100-5", refused=["100-4"]))
    assert waited(room, "100-5") == (POSTED, 0)
    assert waited(room, "100-4") == (CHECK, 0)


def test_a_wait_before_the_answer_does_not_read_the_outbox_either() -> None:
    room = WaitingRoom(1)
    room.begin(now_ms=50)
    room.hear(Notice(3, up_to="100-5"))
    assert waited(room, "100-6") == (None, 0)
    assert waited(WaitingRoom(0), "100-6") == (Answer.FULL, 0)


def test_a_wait_for_an_intent_older_than_the_subscription_reads_the_outbox() -> None:
    room = WaitingRoom(1)
    room.hear(Notice(3, up_to="100-5"))
    assert waited(room, "100-5") == (CHECK, 1)
    room.begin(now_ms=100)
    assert waited(room, "100-5") == (CHECK, 1)


def test_a_new_subscription_forgets_earlier_notices() -> None:
    room = WaitingRoom(1)
    room.begin(now_ms=50)
    room.hear(Notice(3, up_to="100-5"))
    room.begin(now_ms=200)
    assert waited(room, "100-5") == (CHECK, 1)
    room.hear(Notice(3, up_to="300-0"))
    assert waited(room, "250-0") == (POSTED, 0)


def test_a_notice_of_another_partition_tells_nothing() -> None:
    room = WaitingRoom(1)
    room.begin(now_ms=50)
    room.hear(Notice(4, up_to="100-5"))
    assert waited(room, "100-5") == (None, 0)
