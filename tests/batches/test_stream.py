"""Streams of payments: a line in, an answer out."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from app.api.batches import BLOCK, LINES_AT_ONCE, LONGEST_LINE, line_groups
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.services.payments.batches import PATIENCE_S, STREAMS, Batches, Pacing, Patience
from tests.api.world import assert_problem, payment
from tests.batches.world import BANK, NDJSON, BatchWorld


def test_every_line_is_answered_in_its_place(world: BatchWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    first = payment("alice", "bob", 60)
    lines: list[Any] = [
        first,
        b"",
        b"nonsense",
        b"  \r",
        payment("alice", "bob", 60),
        first,
        b'{"external_id": "' + b"x" * LONGEST_LINE + b'"}',
        payment("alice", "bob", 40, metadata={"line": 8}),
        payment("alice", "bob", 1, description="\x00"),
        b"",
    ]
    answers = world.streamed(lines)
    assert [(answer["line"], answer["status"]) for answer in answers] == [
        (1, 201),
        (3, 400),
        (5, 422),
        (6, 200),
        (7, 413),
        (8, 201),
        (9, 400),
    ]
    codes = [answer["problem"]["code"] for answer in answers if "problem" in answer]
    assert codes == ["malformed_request", "insufficient_funds", "payload_too_large", "malformed_request"]
    assert answers[3]["payment"] == answers[0]["payment"]
    assert answers[3]["replayed"] is True
    assert answers[5]["payment"]["metadata"] == {"line": 8}
    world.assert_proven()
    assert world.balance("bob")["balance_minor"] == 100


def test_a_stream_has_any_number_of_lines(world: BatchWorld) -> None:
    world.account(BANK, "asset")
    for n in range(5):
        world.account(f"user-{n}")
    lines = [payment(BANK, f"user-{n % 5}", 1) for n in range(8_000)]
    assert len(json.dumps(lines)) > 1024 * 1024, "more than any other route takes"
    answers = world.streamed(lines)
    assert [answer["line"] for answer in answers] == list(range(1, 8_001))
    assert {answer["status"] for answer in answers} == {201}
    world.assert_proven()
    assert sum(world.balance(f"user-{n}")["balance_minor"] for n in range(5)) == 8_000


def test_an_empty_stream_has_no_answers(world: BatchWorld) -> None:
    assert world.streamed([]) == []


def test_a_stream_is_refused_before_it_begins_where_it_cannot_be_served(world: BatchWorld) -> None:
    assert_problem(world.stream([], query="?dry_run=true"), 400, "malformed_request")
    zipped = world.stream([gzip.compress(b"{}")], headers={"Content-Encoding": "gzip"})
    assert_problem(zipped, 415, "unsupported_content_encoding")
    assert_problem(world.stream([], headers={"Authorization": "Bearer nothing"}), 401, "unauthenticated")


def test_a_process_serves_only_so_many_streams_at_once(world: BatchWorld) -> None:
    slots = world.services.batches.streams
    for _ in range(STREAMS):
        assert slots.acquire(blocking=False)
    refused = world.stream([])
    assert assert_problem(refused, 503, "too_many_streams", retryable=True)["max_streams"] == STREAMS
    slots.release()
    for _ in range(STREAMS):
        assert world.streamed([]) == [], "a stream that ends gives its place back"


def test_a_stream_given_up_by_its_client_frees_its_slot(world: BatchWorld) -> None:
    for _ in range(STREAMS + 1):
        sent = {"Authorization": f"Bearer {world.key}"}
        path = "/v1/payments/batch"
        client = world.application.test_client()
        response = client.post(path, data=b"{}\n" * 9, content_type=NDJSON, headers=sent, buffered=False)
        assert response.status_code == 200
        response.close()


# Waiting


class Ledger:
    """Payments whose answers are set out in advance; a fault is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[list[Any]] = []

    def submit(self, requests: list[Any], actor: str, **_: Any) -> list[Any]:
        self.asked.append(list(requests))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [answer] * len(requests) if not isinstance(answer, list) else answer


def patient(ledger: Ledger, slept: list[float]) -> Batches:
    nothing: Any = None
    stand_in: Any = ledger
    return Batches(stand_in, nothing, Pacing(dict, slept.append), sleep=slept.append)


@pytest.mark.parametrize("fault", [CacheUnavailable("gone"), OutcomeUnknown("late")])
def test_a_stream_tries_again_after_a_fault_that_passes(fault: Exception) -> None:
    slept: list[float] = []
    ledger = Ledger(fault, fault, ["one", "two"])
    assert patient(ledger, slept).submit_patiently(["a", "b"], "key:test", Patience()) == ["one", "two"]  # type: ignore[list-item]
    assert len(slept) == 2
    assert slept[0] < slept[1]


def test_only_what_a_backlogged_ledger_refuses_is_tried_again(world: BatchWorld) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        narrow.drained()

    narrow = replace(world.with_settings(backlog_limit=3), sleep=sleep)
    narrow.account(BANK, "asset")
    narrow.account("alice")
    requests = [payment(BANK, "alice", 1) for _ in range(10)]
    assert [answer["status"] for answer in narrow.streamed(requests)] == [201] * 10
    assert len(slept) == 3


def test_patience_ends_and_then_every_line_says_why(world: BatchWorld) -> None:
    slept: list[float] = []
    narrow = replace(world.with_settings(backlog_limit=1), sleep=slept.append)
    narrow.account(BANK, "asset")
    narrow.account("alice")
    answers = narrow.streamed([payment(BANK, "alice", 1) for _ in range(1_200)])
    assert [answer["status"] for answer in answers] == [201] + [503] * 1_199
    assert {answer["problem"]["code"] for answer in answers[1:]} == {"ledger_backlogged"}
    assert sum(slept) == pytest.approx(PATIENCE_S), "once, not for each group of lines"


def test_progress_renews_the_patience() -> None:
    patience = Patience()
    while patience.next_delay_s() is not None:
        pass
    patience.renew()
    assert patience.next_delay_s() == Patience().next_delay_s()


# Lines


class Source:
    """Bytes that come in pieces of a given size, as a server may give them."""

    def __init__(self, text: bytes, piece: int) -> None:
        self.text = text
        self.piece = piece
        self.largest_wish = 0

    def read(self, size: int, /) -> bytes:
        self.largest_wish = max(self.largest_wish, size)
        given, self.text = self.text[: min(size, self.piece)], self.text[min(size, self.piece) :]
        return given


@pytest.mark.parametrize("piece", [1, 2, 3, 7, BLOCK])
def test_lines_are_the_same_however_the_bytes_come(piece: int) -> None:
    source = Source(b"one\n\n  \ntwo\r\nthree", piece)
    assert [(line.number, line.text) for group in line_groups(source) for line in group] == [
        (1, b"one"),
        (4, b"two\r"),
        (5, b"three"),
    ]


@pytest.mark.parametrize("piece", [1_000, BLOCK])
def test_a_line_that_is_too_long_is_passed_over_without_being_kept(piece: int) -> None:
    source = Source(b"a\n" + b"x" * (20 * BLOCK) + b"\nb\n" + b"y" * (LONGEST_LINE + 1), piece)
    assert [(line.number, line.text) for group in line_groups(source) for line in group] == [
        (1, b"a"),
        (2, None),
        (3, b"b"),
        (4, None),
    ]
    assert source.largest_wish == BLOCK


def test_a_line_of_the_greatest_length_is_taken() -> None:
    for piece in (1_000, BLOCK):
        [[line]] = line_groups(Source(b"x" * LONGEST_LINE + b"\n", piece))
        assert line.text == b"x" * LONGEST_LINE


def test_lines_come_in_groups_of_a_bounded_size() -> None:
    groups = list(line_groups(Source(b"{}\n" * 5_000, BLOCK)))
    assert max(len(group) for group in groups) == LINES_AT_ONCE
    assert [line.number for group in groups for line in group] == list(range(1, 5_001))
    assert json.loads(groups[0][0].text or b"") == {}
