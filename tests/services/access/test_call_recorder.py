"""Gathering records: nothing is lost silently, whatever the ledger does, and a flood is counted."""

import json
from collections.abc import Sequence

from app.domain.audit import CallRecord
from app.domain.errors import CacheUnavailable, LedgerUnavailable
from app.domain.origin import Origin
from app.services.access import call_recorder
from app.services.access.call_recorder import KEPT_OTHERS, KEPT_REFUSED, MOST_SENDERS, MOST_WAITING, CallRecorder


class Ledger:
    """A ledger that keeps what it is given, unless it is away or cannot take a record."""

    def __init__(self) -> None:
        self.written: list[CallRecord] = []
        self.is_away = False
        self.bad_ids: set[str | None] = set()
        self.asked_whether_written: list[bool] = []

    def append(self, records: Sequence[CallRecord], *, may_be_written: bool = False) -> None:
        self.asked_whether_written.append(may_be_written)
        if self.is_away:
            raise LedgerUnavailable("away")
        if self.bad_ids & {one.request_id for one in records}:
            raise ValueError("cannot be stored")
        self.written += records

    def close(self) -> None:
        pass


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def recorder_over(ledger: Ledger, clock: Clock) -> CallRecorder:
    return CallRecorder(ledger, clock, lambda: clock.ms * 1_000_000)  # type: ignore[arg-type]


def call(clock: Clock, request_id: str = "r", **more: object) -> Origin:
    fields = {"ip": "192.0.2.1", "key_id": "k", "method": "GET", "path": "/x", **more}
    return Origin(request_id, clock.ms, clock.ms * 1_000_000, **fields)  # type: ignore[arg-type]


def test_calls_are_written_in_order_with_what_was_asked_and_answered() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    first = call(clock, "one", request=b'{"secret": "s"}', request_bytes=15)
    clock.ms += 3
    recorder.note(first, 200, None, b"{}")
    recorder.note(call(clock, "two"), 404, "not_found", b"")
    recorder.flush()
    one, two = ledger.written
    assert (one.request_id, one.called_at_ms, one.status, one.duration_us) == ("one", 1_000_000, 200, 3_000)
    assert (one.request, one.request_bytes, one.response, one.response_bytes) == (
        '{"secret": "[redacted]"}',
        15,
        "{}",
        2,
    )
    assert (two.request_id, two.status, two.code, two.response) == ("two", 404, "not_found", None)


def test_what_records_itself_is_not_gathered() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    recorder.note(call(clock, is_recorded=True), 201, None, b"{}")
    recorder.flush()
    assert ledger.written == []


def test_records_wait_while_the_ledger_is_away_and_a_commit_in_doubt_is_looked_up() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    recorder.note(call(clock, "before"), 200, None, b"")
    ledger.is_away = True
    recorder.flush()
    recorder.note(call(clock, "meanwhile"), 200, None, b"")
    recorder.flush()
    ledger.is_away = False
    recorder.flush()
    assert [one.request_id for one in ledger.written] == ["before", "meanwhile"]
    assert ledger.asked_whether_written == [False, True, True, False]


def test_what_does_not_fit_is_counted_as_a_gap() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    ledger.is_away = True
    for number in range(MOST_WAITING + 7):
        if number % 1_000 == 0:
            clock.ms += 1_000
        recorder.note(call(clock, str(number)), 200, None, b"")
    recorder.flush()
    assert ledger.written == []
    assert recorder.lost_calls == 7
    ledger.is_away = False
    recorder.flush()
    *kept, gap = ledger.written
    assert len(kept) == MOST_WAITING
    assert (gap.action, gap.calls, gap.called_at_ms) == ("audit.gap", 7, clock.ms)
    assert "the ledger was away" in (gap.response or "")


def test_a_record_that_cannot_be_stored_costs_no_other() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    ledger.bad_ids = {"bad"}
    for request_id in ("good", "bad", "also good"):
        recorder.note(call(clock, request_id), 200, None, b"")
    recorder.flush()
    recorder.flush()
    assert [one.request_id for one in ledger.written] == ["good", "also good", None]
    assert (ledger.written[-1].action, ledger.written[-1].calls) == ("audit.gap", 1)


def test_a_flood_is_kept_in_part_and_counted_by_key_address_and_code() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    for number in range(10_000):
        recorder.note(call(clock, key_id=None, ip=f"192.0.2.{number % 2}"), 401, "unauthenticated", b"")
    recorder.note(call(clock, "another answer"), 200, None, b"")
    clock.ms += 1_000
    recorder.flush()
    kept = [one for one in ledger.written if one.action is None]
    counted = [one for one in ledger.written if one.action == "audit.counted"]
    assert len(kept) == 2 * KEPT_REFUSED + 1
    assert {(one.ip, one.code, one.calls) for one in counted} == {
        ("192.0.2.0", "unauthenticated", 5_000 - KEPT_REFUSED),
        ("192.0.2.1", "unauthenticated", 5_000 - KEPT_REFUSED),
    }
    assert json.loads(counted[0].response or "")["first_at"] == "1970-01-01T00:16:40.000Z"
    assert recorder.lost_calls == 0


def test_ten_thousand_refused_calls_a_second_for_ten_seconds_leave_few_records_and_none_is_lost() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    seconds, a_second, most_waiting = 10, 10_000, 0
    for number in range(seconds * a_second):
        if number % 10 == 0:
            clock.ms += 1
        recorder.note(call(clock, key_id=None, ip=f"192.0.2.{number % 3}"), 401, "unauthenticated", b"{}")
        if clock.ms % 200 == 0:
            before = len(ledger.written)
            recorder.flush()
            most_waiting = max(most_waiting, len(ledger.written) - before)
    clock.ms += 1_000
    recorder.flush()
    assert sum(one.calls for one in ledger.written) == seconds * a_second
    assert len(ledger.written) <= 3 * (KEPT_REFUSED + 1) * (seconds + 1)
    assert most_waiting <= 3 * (KEPT_REFUSED + 1)
    assert recorder.lost_calls == 0


def test_a_flood_from_many_addresses_is_bounded_too() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    senders = 3 * MOST_SENDERS
    for number in range(senders):
        recorder.note(call(clock, key_id=None, ip=f"10.0.{number // 250}.{number % 250}"), 401, "unauthenticated", b"")
    clock.ms += 1_000
    recorder.flush()
    assert sum(one.calls for one in ledger.written) == senders
    assert len(ledger.written) == MOST_SENDERS + KEPT_REFUSED + 1


def test_a_busy_reader_is_kept_one_by_one_up_to_a_bound() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    for _ in range(KEPT_OTHERS + 5):
        recorder.note(call(clock), 200, None, b"")
    clock.ms += 1_000
    recorder.flush()
    assert [one.calls for one in ledger.written[KEPT_OTHERS:]] == [5]


def test_a_stop_writes_what_is_left() -> None:
    ledger, clock = Ledger(), Clock()
    recorder = recorder_over(ledger, clock)
    recorder.start()
    recorder.note(call(clock, "the last"), 200, None, b"")
    recorder.stop()
    assert [one.request_id for one in ledger.written] == ["the last"]
    assert call_recorder.FLUSH_S <= 0.2


def test_the_metrics_learn_what_was_counted_and_what_is_lost_once_the_cache_answers() -> None:
    ledger, clock = Ledger(), Clock()
    told: list[tuple[int, int]] = []
    is_away = True

    def tally(counted: int, lost: int) -> None:
        if is_away:
            raise CacheUnavailable("away")
        told.append((counted, lost))

    recorder = CallRecorder(ledger, clock, lambda: 0, tally)  # type: ignore[arg-type]
    for _ in range(KEPT_REFUSED + 3):
        recorder.note(call(clock), 404, "not_found", b"")
    recorder.flush()
    assert told == []
    is_away = False
    recorder.flush()
    recorder.flush()
    assert told == [(3, 0)]
