"""The acceptance cases: two payments at once, and a wait that ends because somebody else holds the row."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.system.harness import BANK, Answer, Client, System, payment

ROUNDS = 400 if os.environ.get("HOLDFAST_LONG") == "1" else 40


class Pair:
    """Two clients that send at the same moment."""

    def __init__(self, system: System) -> None:
        self._clients = [system.client(), system.client()]
        self._pool = ThreadPoolExecutor(2)
        self._barrier = Barrier(2)

    def send(self, *bodies: dict[str, Any], **headers: str) -> list[Answer]:
        """Send both; answers in order of status."""

        def one(client: Client, body: dict[str, Any]) -> Answer:
            self._barrier.wait(PATIENCE_S)
            return client.pay(body, **headers)

        answers = list(self._pool.map(one, self._clients, bodies))
        return sorted(answers, key=lambda answer: answer.status)

    def close(self) -> None:
        self._pool.shutdown()
        for client in self._clients:
            client.close()


@pytest.fixture
def pair(system: System) -> Iterator[Pair]:
    """Two clients."""
    pair = Pair(system)
    yield pair
    pair.close()


def funded(client: Client, name: str, amount_minor: int) -> str:
    """A new account with money."""
    client.account(name)
    client.fund(name, amount_minor)
    return name


def assert_balance_is_sum_of_entries(client: Client, account_id: str, expected_minor: int) -> None:
    balance = client.balance(account_id)
    entries = client.get(f"/v1/accounts/{account_id}/entries?limit=1000")["data"]
    total = sum(one["amount_minor"] * (1 if one["direction"] == "credit" else -1) for one in entries)
    assert (balance["balance_minor"], balance["held_minor"], total) == (expected_minor, 0, expected_minor)


def test_exactly_one_of_two_payments_with_the_same_expected_version_wins(
    system: System, client: Client, pair: Pair
) -> None:
    for number in range(ROUNDS):
        account = funded(client, f"versioned-{number}", 1_000)
        version = client.balance(account)["version"]
        bodies = [payment(account, BANK, 400, expected_version=version) for _ in range(2)]
        won, lost = pair.send(*bodies, prefer="wait=30")
        assert (won.status, won.body["status"], won.body["version"]) == (201, "posted", version + 1)
        assert (lost.status, lost.code) == (409, "optimistic_lock_conflict")
        assert (lost.body["current_version"], lost.body["retryable"]) == (version + 1, True)
        assert_balance_is_sum_of_entries(client, account, 600)


def test_without_a_version_both_succeed_if_the_funds_allow(client: Client, pair: Pair) -> None:
    for number in range(ROUNDS):
        account = funded(client, f"rich-{number}", 1_000)
        answers = pair.send(payment(account, BANK, 400), payment(account, BANK, 500), prefer="wait=30")
        assert [answer.status for answer in answers] == [201, 201]
        assert_balance_is_sum_of_entries(client, account, 100)


def test_without_a_version_exactly_one_succeeds_if_only_one_fits(client: Client, pair: Pair) -> None:
    for number in range(ROUNDS):
        account = funded(client, f"poor-{number}", 1_000)
        won, lost = pair.send(payment(account, BANK, 600), payment(account, BANK, 600), prefer="wait=30")
        assert (won.status, lost.status, lost.code) == (201, 422, "insufficient_funds")
        assert lost.body["available_minor"] == 400
        assert_balance_is_sum_of_entries(client, account, 400)


def test_the_same_payment_sent_twice_at_once_moves_once(client: Client, pair: Pair) -> None:
    for number in range(ROUNDS):
        account = funded(client, f"twice-{number}", 1_000)
        body = payment(account, BANK, 400)
        replay, first = pair.send(body, body, prefer="wait=30")
        assert (replay.status, first.status) == (200, 201)
        assert replay.body["payment_id"] == first.body["payment_id"]
        assert_balance_is_sum_of_entries(client, account, 600)


def test_a_lock_held_elsewhere_ends_the_wait_and_the_payment_posts_once_it_is_gone(
    system: System, client: Client
) -> None:
    account = funded(client, "locked", 1_000)
    free = funded(client, "free", 1_000)
    before = conflicts(client).get(account, {"retries": 0, "exhausted": 0})
    with system.held_lock(account):
        answer = client.pay(payment(account, BANK, 400, external_id="behind a lock"), prefer="wait=30")
        assert (answer.status, answer.code) == (503, "concurrency_retry_exhausted")
        assert answer.body["retryable"] is True
        assert int(answer.headers["Retry-After"]) >= 1
        outbox_position = f"/v1/payments/{answer.body['payment_id']}"
        assert client.get(outbox_position)["status"] == "pending"
        assert client.balance(account)["held_minor"] == 400
        beside = client.pay(payment(free, free_destination(client), 1), prefer="wait=30")
        assert (beside.status, beside.body["status"]) == (201, "posted"), "others are not held up"
    for _ in range(20):  # the drain may have tried once more just before
        retry = client.pay(payment(account, BANK, 400, external_id="behind a lock"), prefer="wait=30")
        if retry.status != 503:
            break
        assert retry.code == "concurrency_retry_exhausted"
    assert (retry.status, retry.body["status"]) == (200, "posted")
    assert client.get(outbox_position)["status"] == "posted"
    assert_balance_is_sum_of_entries(client, account, 600)
    after = conflicts(client)[account]
    assert after["retries"] >= before["retries"] + 2
    assert after["exhausted"] >= before["exhausted"] + 1


def free_destination(client: Client) -> str:
    """Any account that nobody has locked."""
    return client.account("somewhere else")


def conflicts(client: Client) -> dict[str, Any]:
    """Conflict counts by account."""
    return {row["account_id"]: row for row in client.get("/v1/reports/conflicts?limit=1000")["data"]}
