"""The client's decisions, without a server: what it repeats, how long it waits, and what it tells in the end."""

import json
from typing import Any

import pytest
from holdfast_client import OutcomeUnknown, Refused, Unavailable, UnexpectedAnswer, key_requests, requests
from holdfast_client.exchange import Answer, NoAnswer, Pause, Policy, Request, Send, exchange, retry_after_s
from holdfast_client.models import AcknowledgedPayment
from holdfast_client.refusals import (
    ExternalIdReused,
    InsufficientFunds,
    OptimisticLockConflict,
    PaymentNotPosted,
    Unauthenticated,
)

PAYMENT = requests.pay("a", "b", 5, "EUR", external_id="order-1")
LOST = NoAnswer("reset", is_sent=True)
NOT_REACHED = NoAnswer("nobody listens", is_sent=False)


def problem(code: str, status: int, retryable: bool, **more: Any) -> Answer:
    """A refusal as the server sends it."""
    retry_after = more.pop("retry_after", None)
    headers = {"content-type": "application/problem+json", "x-request-id": "r1"}
    headers |= {"retry-after": retry_after} if retry_after else {}
    body = {"type": "", "title": "", "status": status, "code": code, "detail": "d", "retryable": retryable, **more}
    return Answer(status, headers, json.dumps(body).encode())


def acknowledged(status: int = 201) -> Answer:
    """A payment that was accepted."""
    body = {
        "payment_id": "pay_1",
        "external_id": "order-1",
        "status": "pending",
        "durability": "ledger",
        "version": 1,
        "source_account_id": "a",
        "destination_account_id": "b",
        "amount_minor": 5,
        "currency_code": "EUR",
        "description": None,
        "effective_at": None,
        "metadata": None,
        "accepted_at": "2026-11-20T18:06:46.787Z",
        "of_a_newer_server": {"x": 1},
    }
    return Answer(status, {"content-type": "application/json"}, json.dumps(body).encode())


class Played:
    """An exchange whose outcomes are given, on a clock that only pauses move."""

    def __init__(self, request: Request[Any], *outcomes: Answer | NoAnswer, deadline_s: float = 30.0) -> None:
        self.now_s = 0.0
        self.sent: list[Send] = []
        self.paused_s: list[float] = []
        self.error: Exception | None = None
        self.result: Any = None
        steps = exchange(request, Policy(deadline_s, 10.0), lambda: self.now_s, lambda: 1.0)
        given = iter(outcomes)
        answer = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Pause):
                    self.paused_s.append(step.seconds)
                    self.now_s += step.seconds
                else:
                    self.sent.append(step)
                    answer = next(given)
        except StopIteration as end:
            self.result = end.value
        except Exception as error:
            self.error = error
        assert next(given, None) is None, "everything that was given was asked for"


def test_an_answer_is_read_and_what_a_newer_server_tells_is_passed_over() -> None:
    made = Played(PAYMENT, acknowledged()).result
    assert isinstance(made, AcknowledgedPayment)
    assert (made.payment_id, made.accepted_at.isoformat()) == ("pay_1", "2026-11-20T18:06:46.787000+00:00")


def test_a_lost_answer_is_asked_for_again_with_the_same_request() -> None:
    played = Played(PAYMENT, LOST, NOT_REACHED, acknowledged(200))
    assert played.result.payment_id == "pay_1"
    assert len({one.request.content for one in played.sent}) == 1
    assert b"order-1" in (PAYMENT.content or b"")


def test_pauses_grow_and_are_never_shorter_than_the_server_asks() -> None:
    busy = problem("server_busy", 503, True, retry_after="3")
    played = Played(PAYMENT, LOST, LOST, LOST, busy, acknowledged())
    assert played.paused_s[:3] == sorted(played.paused_s[:3])
    assert len(set(played.paused_s[:3])) == 3
    assert played.paused_s[3] == 3.0


def test_a_pause_that_would_pass_the_deadline_is_not_begun() -> None:
    played = Played(PAYMENT, problem("rate_limited", 429, True, retry_after="60"), deadline_s=5.0)
    assert isinstance(played.error, Unavailable)
    assert (played.error.code, played.paused_s) == ("rate_limited", [])


def test_no_attempt_may_last_longer_than_what_is_left() -> None:
    busy = problem("server_busy", 503, True, retry_after="4")
    played = Played(PAYMENT, busy, busy, acknowledged(), deadline_s=9.0)
    assert [one.timeout_s for one in played.sent] == [9.0, 5.0, 1.0]


def test_a_server_that_is_asked_to_wait_gets_time_to_answer() -> None:
    waiting = requests.pay("a", "b", 5, "EUR", wait_s=20)
    [sent] = Played(waiting, acknowledged()).sent
    assert (sent.headers["Prefer"], sent.timeout_s) == ("wait=20", 30.0)
    [sent] = Played(waiting, acknowledged(), deadline_s=8.0).sent
    assert (sent.headers["Prefer"], sent.timeout_s) == ("wait=7", 8.0)


@pytest.mark.parametrize(
    ("code", "status", "retryable", "kind"),
    [
        ("insufficient_funds", 422, False, InsufficientFunds),
        ("insufficient_funds", 422, True, InsufficientFunds),
        ("optimistic_lock_conflict", 409, True, OptimisticLockConflict),
        ("external_id_reused", 422, False, ExternalIdReused),
        ("unauthenticated", 401, False, Unauthenticated),
        ("of_a_newer_server", 422, False, Refused),
    ],
)
def test_what_a_repeat_does_not_help_is_told_at_once(code: str, status: int, retryable: bool, kind: type) -> None:
    error = Played(PAYMENT, problem(code, status, retryable, available_minor=3)).error
    assert type(error) is kind
    assert isinstance(error, Refused)
    assert (error.code, error.status, error.retryable) == (code, status, retryable)
    assert (error.figures, error.external_id, error.request_id) == ({"available_minor": 3}, "order-1", "r1")


def test_a_refund_waits_until_its_payment_is_in_the_ledger() -> None:
    refund = requests.refund("pay_1", 5)
    body = {"refund_id": "r", "payment_id": "p", "external_id": "e", "amount_minor": 5, "currency_code": "EUR"}
    body |= {"status": "posted", "reason": None, "entries": [], "posted_at": None, "ledger_transaction": "1/1"}
    not_yet = [problem("payment_not_posted", 409, True, payment_status=one) for one in ("pending", "captured")]
    assert Played(refund, *not_yet, Answer(201, {}, json.dumps(body).encode())).result.refund_id == "r"


@pytest.mark.parametrize("status", ["authorized", "voided", "expired", "rejected"])
def test_a_refund_does_not_wait_for_what_never_comes_by_itself(status: str) -> None:
    error = Played(requests.refund("pay_1", 5), problem("payment_not_posted", 409, True, payment_status=status)).error
    assert isinstance(error, PaymentNotPosted)


def test_what_another_code_says_of_a_payments_status_ends_no_repeats() -> None:
    busy = problem("concurrency_retry_exhausted", 503, True, payment_status="authorized")
    assert Played(PAYMENT, busy, acknowledged()).result.payment_id == "pay_1"


def test_an_attempt_that_may_have_been_carried_out_is_not_denied_by_one_that_was_not() -> None:
    for last in (NOT_REACHED, problem("cache_unavailable", 503, True), problem("unauthenticated", 401, False)):
        error = Played(PAYMENT, LOST, last, deadline_s=0.2).error
        assert isinstance(error, OutcomeUnknown), last
        assert error.external_id == "order-1"


def test_a_refusal_that_looked_at_the_payment_is_certain_whatever_was_lost_before() -> None:
    error = Played(PAYMENT, LOST, problem("insufficient_funds", 422, False)).error
    assert type(error) is InsufficientFunds


def test_a_server_that_was_never_reached_has_done_nothing() -> None:
    error = Played(PAYMENT, NOT_REACHED, deadline_s=0.05).error
    assert type(error) is Unavailable


def test_nobody_has_to_wonder_about_a_lost_read() -> None:
    error = Played(requests.get_account("a"), LOST, deadline_s=0.05).error
    assert type(error) is Unavailable


def test_a_key_is_not_made_twice_for_a_lost_answer() -> None:
    made = key_requests.create_key("k", ["read"])
    assert isinstance(Played(made, LOST).error, OutcomeUnknown)
    played = Played(made, problem("server_busy", 503, True), LOST)
    assert len(played.sent) == 2


def test_an_answer_of_another_server_says_where_to_look() -> None:
    for answer in (Answer(404, {"content-type": "text/html"}, b"<html>"), Answer(200, {}, b"<html>")):
        error = Played(PAYMENT, answer).error
        assert type(error) is UnexpectedAnswer
    error = Played(PAYMENT, Answer(502, {}, b"bad gateway"), deadline_s=0.05).error
    assert type(error) is OutcomeUnknown


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_s(Answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"")) == 0.0
    assert retry_after_s(Answer(503, {"retry-after": "Wed, 21 Oct 2095 07:28:00 GMT"}, b"")) > 10**9
    assert retry_after_s(Answer(503, {"retry-after": "soon"}, b"")) == 0.0


def test_ids_are_encoded_in_paths() -> None:
    assert requests.get_balance("shop/ä 1").path == "/v1/accounts/shop%2F%C3%A4%201/balance"
