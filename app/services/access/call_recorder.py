"""Gathering the records of calls that changed nothing: reads, refusals, repeats, and whatever never came to a route.

What changes something records itself, in its own transaction. The rest waits here for a moment and is written together,
five times a second. So a kill loses at most that much; an orderly stop loses nothing. What waits is bounded, whatever
happens to the ledger: calls beyond the bound are counted, and the gap becomes a record. A flood is bounded too: of the
calls of one key and IP address with one answer, only so many a second are kept one by one. The others are counted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from app.domain.audit import Action, CallRecord, bounded_path, bounded_text, storable
from app.domain.errors import CacheUnavailable, Fault, LedgerUnavailable, OutcomeUnknown
from app.domain.origin import LARGEST_BODY, Origin
from app.domain.timestamps import from_milliseconds, rfc3339

if TYPE_CHECKING:
    from app.ledger.audit_records import LedgerAudit


log = logging.getLogger(__name__)

FLUSH_S = 0.2
"""How long a record waits at most, while the ledger answers."""

SECOND_MS = 1_000
"""Calls are counted by the second."""

KEPT_REFUSED = 100
"""Refused calls of one key and address with one code that are kept one by one in a second."""

KEPT_OTHERS = 2_000
"""The same for calls that were answered: more than one client reads, unless it means to do harm."""

MOST_SENDERS = 1_000
"""Keys, addresses and codes told apart in one second; the calls of further ones are counted together."""

MOST_WAITING = 20_000
MOST_WAITING_BYTES = 64 * 1024 * 1024
"""What waits for the ledger at most, in each process."""

STOP_S = 2.0
"""How long a stop waits for what is left to be written."""

Sender = tuple[str | None, str | None, int, str | None]
"""Key, IP address, status and code."""


@dataclass(slots=True)
class _Note:
    origin: Origin
    status: int
    code: str | None
    duration_us: int
    response: bytes
    response_bytes: int


@dataclass(slots=True)
class _Count:
    """Calls that were only counted, and when the first and the last of them came."""

    first_ms: int
    last_ms: int = 0
    calls: int = 0

    def add(self, received_at_ms: int) -> None:
        """Count one more."""
        self.last_ms = received_at_ms
        self.calls += 1


@dataclass(slots=True)
class _Second:
    """The calls of one second, by sender."""

    began_ms: int = 0
    seen: dict[Sender, int] = field(default_factory=dict)
    counted: dict[Sender, _Count] = field(default_factory=dict)


class CallRecorder:
    """Gathers the records of one process, and writes them from a thread of its own."""

    def __init__(
        self,
        ledger: LedgerAudit,
        now_ms: Callable[[], int],
        monotonic_ns: Callable[[], int],
        tally: Callable[[int, int], None] = lambda _counted, _lost: None,
        watch: Callable[[int], None] = lambda _waiting: None,
    ) -> None:
        """`tally` adds to the metrics: calls that were only counted, and calls that are lost. `watch` is told, after
        each try to write, how many records wait."""
        self._ledger = ledger
        self._watch = watch
        self._now_ms = now_ms
        self._monotonic_ns = monotonic_ns
        self._lock = Lock()
        self._flushing = Lock()
        self._stopped = Event()
        self._thread: Thread | None = None
        self._notes: list[_Note] = []
        self._bytes = 0
        self._second = _Second()
        self._summaries: list[CallRecord] = []
        self._missed: _Count | None = None
        self._batch: list[CallRecord] = []
        """What is being written, or could not be written yet."""
        self._batch_bytes = 0
        self._may_be_written = False
        self.lost_calls = 0
        """Calls of which there is no record but in a gap."""
        self.counted_calls = 0
        """Calls that were only counted, with others of their sender."""
        self._tally = tally
        self._tallied = (0, 0)

    # Gathering

    def note(self, origin: Origin, status: int, code: str | None, answer: bytes) -> None:
        """Note a call that has been answered, unless its record is written with what it changed."""
        if origin.is_recorded:
            return
        duration_us = (self._monotonic_ns() - origin.began_ns) // 1_000
        note = _Note(origin, status, code, duration_us, answer[: LARGEST_BODY + 1_024], len(answer))
        with self._lock:
            if self._is_counted(origin, status, code):
                return
            size = len(origin.request) + len(note.response) + 500
            if self._is_full():
                self._miss(origin.received_at_ms, 1)
                return
            self._notes.append(note)
            self._bytes += size

    def _is_full(self) -> bool:
        waiting, waiting_bytes = len(self._notes) + len(self._batch), self._bytes + self._batch_bytes
        return waiting >= MOST_WAITING or waiting_bytes >= MOST_WAITING_BYTES

    def _is_counted(self, origin: Origin, status: int, code: str | None) -> bool:
        """Whether a call is one too many of its sender's to be kept; then it is counted."""
        if origin.received_at_ms - self._second.began_ms >= SECOND_MS:
            self._end_second(origin.received_at_ms)
        second = self._second
        sender: Sender = (origin.key_id, origin.ip, status, code)
        seen = second.seen.get(sender)
        if seen is None and len(second.seen) >= MOST_SENDERS:
            sender = (None, None, status, code)
            seen = second.seen.get(sender)
        second.seen[sender] = (seen or 0) + 1
        if (seen or 0) < (KEPT_REFUSED if status >= 400 else KEPT_OTHERS):
            return False
        if sender not in second.counted:
            second.counted[sender] = _Count(origin.received_at_ms)
        second.counted[sender].add(origin.received_at_ms)
        self.counted_calls += 1
        return True

    def _end_second(self, now_ms: int) -> None:
        for (key_id, ip, status, code), count in self._second.counted.items():
            self._summaries.append(
                CallRecord(
                    count.first_ms,
                    action=Action.COUNTED.value,
                    key_id=key_id,
                    ip=ip,
                    status=status,
                    code=code,
                    response=_span(count, "more of this key, address and answer than are kept one by one in a second"),
                    calls=count.calls,
                )
            )
        if len(self._summaries) > MOST_WAITING:
            self._miss(now_ms, sum(one.calls for one in self._summaries))
            self._summaries.clear()
        self._second = _Second(now_ms)

    def _miss(self, received_at_ms: int, calls: int) -> None:
        if self._missed is None:
            self._missed = _Count(received_at_ms)
        self._missed.last_ms = received_at_ms
        self._missed.calls += calls
        self.lost_calls += calls

    # Writing

    def start(self) -> None:
        """Begin to write, in a thread."""
        self._thread = Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_S)
        self.flush()
        left = len(self._batch) + len(self._notes)
        if left:
            log.error("%d records of calls are lost: the ledger does not take them", left)
        self._ledger.close()

    def _run(self) -> None:
        while not self._stopped.wait(FLUSH_S):
            try:
                self.flush()
            except Exception:
                log.exception("records of calls could not be written")

    def flush(self) -> None:
        """Write what has been gathered. What cannot be written waits for the next time."""
        with self._flushing:
            # First what could not be written before: nothing is mixed with what may be in the ledger already.
            while self._batch or self._take():
                if not self._write():
                    break
            self._watch(len(self._batch) + len(self._notes))
            self._tell_metrics()

    def _tell_metrics(self) -> None:
        """Add to the metrics what they do not count yet. Where nobody knows whether it was added, it was."""
        counts, known = (self.counted_calls, self.lost_calls), self._tallied
        if counts == known:
            return
        try:
            self._tally(counts[0] - known[0], counts[1] - known[1])
        except CacheUnavailable:
            return
        except OutcomeUnknown:
            log.info("the metrics of the audit may lack some calls")
        self._tallied = counts

    def _take(self) -> bool:
        """Make records of what has been gathered; returns whether there is anything."""
        now_ms = self._now_ms()
        with self._lock:
            if now_ms - self._second.began_ms >= SECOND_MS:
                self._end_second(now_ms)
            notes, self._notes = self._notes, []
            summaries, self._summaries = self._summaries, []
            missed, self._missed = self._missed, None
            self._batch_bytes, self._bytes = self._bytes, 0
        self._batch = [_record_of(note) for note in notes] + summaries
        if missed is not None:
            self._batch.append(_gap(missed, "the ledger was away, and no more could wait for it"))
        return bool(self._batch)

    def _write(self) -> bool:
        try:
            self._ledger.append(self._batch, may_be_written=self._may_be_written)
        except LedgerUnavailable as fault:
            self._may_be_written = self._may_be_written or not fault.not_run
            return False
        except Exception:
            if self._may_be_written or len(self._batch) == 1:
                log.exception("%d records of calls are lost", len(self._batch))
                with self._lock:
                    self._miss(self._now_ms(), sum(one.calls for one in self._batch))
            else:
                self._write_one_by_one()
        self._batch, self._batch_bytes, self._may_be_written = [], 0, False
        return True

    def _write_one_by_one(self) -> None:
        """Write each record alone: one that the ledger cannot take must not cost the others."""
        for record in self._batch:
            try:
                self._ledger.append([record])
            except Fault as fault:
                log.error("the record of call %s is lost: %s", record.request_id, fault)
                with self._lock:
                    self._miss(record.called_at_ms, record.calls)
            except Exception:
                log.exception("the record of call %s is lost", record.request_id)
                with self._lock:
                    self._miss(record.called_at_ms, record.calls)


def _record_of(note: _Note) -> CallRecord:
    origin = note.origin
    return CallRecord(
        called_at_ms=origin.received_at_ms,
        request_id=origin.request_id,
        actor=origin.actor,
        key_id=origin.key_id,
        ip=origin.ip,
        method=origin.method,
        route=origin.route,
        path=bounded_path(origin.path),
        status=note.status,
        code=note.code,
        duration_us=note.duration_us,
        account_id=storable(origin.account_id),
        payment_id=storable(origin.payment_id),
        external_id=storable(origin.external_id),
        request=bounded_text(origin.request),
        request_bytes=origin.request_bytes or None,
        response=bounded_text(note.response),
        response_bytes=note.response_bytes or None,
    )


def _gap(count: _Count, reason: str) -> CallRecord:
    return CallRecord(
        count.first_ms, action=Action.GAP.value, actor="audit", response=_span(count, reason), calls=count.calls
    )


def _span(count: _Count, reason: str) -> str:
    first, last = (rfc3339(from_milliseconds(one)) for one in (count.first_ms, count.last_ms))
    return json.dumps({"first_at": first, "last_at": last, "reason": reason})
