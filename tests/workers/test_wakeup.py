"""The bell: no caller waits for a wake-up to be sent, and all that are requested meanwhile become one."""

from threading import Semaphore

from app.wakeup import Bell
from tests.patience import PATIENCE_S


class Queue:
    """A queue whose server answers when `may_answer` allows it."""

    def __init__(self) -> None:
        self.asked = Semaphore(0)
        self.may_answer = Semaphore(0)

    def wake(self) -> None:
        self.asked.release()
        assert self.may_answer.acquire(timeout=PATIENCE_S)

    def was_asked(self) -> bool:
        return self.asked.acquire(timeout=PATIENCE_S)


def test_wake_ups_requested_while_one_is_sent_become_one_more() -> None:
    queue = Queue()
    bell = Bell(queue.wake)
    bell.ring()
    assert queue.was_asked()
    for _ in range(10):
        bell.ring()  # returns although the server has not answered
    queue.may_answer.release()
    assert queue.was_asked()
    queue.may_answer.release()
    bell.ring()
    assert queue.was_asked()
    queue.may_answer.release()
    assert not queue.asked.acquire(blocking=False)
