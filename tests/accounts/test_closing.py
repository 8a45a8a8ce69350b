"""Closing accounts: only empty ones, for good, and never over a payment on its way."""

from collections.abc import Callable
from typing import Any

from app.domain.errors import CacheUnavailable
from app.services.accounts.changes import PATIENCE_S
from tests.accounts.desk import Desk
from tests.api.world import BANK, World, assert_problem
from tests.services.faults import Overridden


def test_an_empty_account_closes_for_good_in_every_process(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.pay("alice", BANK, 100)
    world.drained()
    other = world.with_settings()
    other.pay(BANK, "bob", 1)
    assert desk.changed("alice", status="closed", reason="left us")["status"] == "closed"
    for response in (other.pay("alice", BANK, 1), other.pay(BANK, "alice", 1)):
        assert assert_problem(response, 422, "account_closed")["account_status"] == "closed"
    assert desk.moves("alice") == [({"status": "open"}, {"status": "closed"})]
    assert desk.trail("alice")[-1]["reason"] == "left us"


def test_a_closed_account_opens_no_more_but_may_be_renamed(desk: Desk, world: World) -> None:
    world.account("alice")
    desk.changed("alice", status="closed")
    for change in ({"status": "open"}, {"status": "frozen"}, {"overdraft_limit_minor": 5}):
        assert_problem(desk.patch("alice", **change), 422, "account_closed")
    assert desk.changed("alice", name="Alice (closed)")["name"] == "Alice (closed)"
    assert desk.changed("alice", status="closed")["status"] == "closed"


def test_an_account_with_a_balance_does_not_close_and_gets_its_status_back(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    desk.changed("alice", status="frozen_credits", reason="no more in")
    problem = assert_problem(desk.patch("alice", status="closed"), 422, "account_not_empty")
    figures = {"balance_minor": 100, "held_minor": 0, "pending_payments": 0, "open_authorizations": 0}
    assert {name: problem[name] for name in figures} == figures
    assert world.get("/v1/accounts/alice").get_json()["status"] == "frozen_credits"
    assert world.pay("alice", BANK, 100).status_code == 201


def test_closing_waits_for_the_payments_that_are_on_their_way(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    last = world.pay("alice", BANK, 100).get_json()
    desk.changed("alice", status="closed")
    assert world.get(f"/v1/payments/{last['payment_id']}").get_json()["status"] == "posted"


def test_closing_sees_a_credit_on_its_way_from_another_partition(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.pay("alice", "bob", 5)
    problem = assert_problem(desk.patch("bob", status="closed"), 422, "account_not_empty")
    assert problem["balance_minor"] == 5
    assert world.get("/v1/accounts/bob").get_json()["status"] == "open"


def test_an_open_authorization_keeps_both_its_accounts_open(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    authorized = world.pay("alice", "bob", 100, capture="manual").get_json()
    world.drained()
    for account_id, held in (("bob", 0), ("alice", 100)):
        problem = assert_problem(desk.patch(account_id, status="closed"), 422, "account_not_empty")
        assert (problem["open_authorizations"], problem["held_minor"]) == (1, held)
    assert world.post(f"/v1/payments/{authorized['payment_id']}/void", {}).status_code in (200, 201)
    world.drained()
    assert desk.changed("bob", status="closed")["status"] == "closed"


def test_closing_gives_up_in_time_when_nobody_posts(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.pay("alice", "bob", 5)
    desk.while_waiting = lambda: None
    problem = assert_problem(desk.patch("bob", status="closed"), 422, "account_not_empty")
    assert (problem["pending_payments"], problem["balance_minor"]) == (1, 0)
    assert PATIENCE_S <= desk.clock.now < PATIENCE_S + 1
    assert world.get("/v1/accounts/bob").get_json()["status"] == "open"
    assert world.pay("alice", "bob", 5).status_code == 201


def test_a_forced_limit_gives_up_in_time_when_nobody_posts(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.pay("alice", BANK, 120)
    desk.while_waiting = lambda: None
    response = desk.patch("alice", overdraft_limit_minor=0, force=True)
    assert_problem(response, 503, "concurrency_retry_exhausted", retryable=True)
    assert world.get("/v1/accounts/alice").get_json()["status"] == "open"
    assert desk.floors("alice") == (-50, -50)


class Meddled:
    """A ledger before whose so manieth transaction of a change something happens."""

    def __init__(self, inner: Any, number: int, happen: Callable[[], Any]) -> None:
        self._inner = inner
        self._left = number
        self._happen = happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def changing(self, account_id: str) -> Any:
        self._left -= 1
        if self._left == 0:
            self._happen()
        return self._inner.changing(account_id)


PAUSE = 3
"""The first transaction reads the account, the second looks whether it is empty, and the third pauses it."""


def test_no_payment_comes_between_the_pause_and_the_closing(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.balance("bob")
    answers = []

    def pay_and_drain() -> None:
        answers.append(world.pay("alice", "bob", 1, external_id="the same"))
        desk.drain_once()

    desk.while_waiting = pay_and_drain
    last_moment = Meddled(desk.ledger, PAUSE, lambda: world.pay("alice", "bob", 5))
    world.services.changes = desk.changes(ledger=last_moment)
    assert_problem(desk.patch("bob", status="closed"), 422, "account_not_empty")
    assert answers
    for answer in answers:
        problem = assert_problem(answer, 409, "account_paused", retryable=True)
        assert problem["account_id"] == "bob"
    assert world.pay("alice", "bob", 1, external_id="the same").status_code == 201
    assert desk.trail("bob") == [], "nothing was changed"


def test_closing_an_account_that_is_not_empty_turns_no_payment_away_and_leaves_no_record(
    desk: Desk, world: World
) -> None:
    world.funded("alice", 1_000)
    version = world.get("/v1/accounts/alice").headers["ETag"]
    answers = []

    def pay_and_drain() -> None:
        answers.append(world.pay("alice", BANK, 1))
        desk.drain_once()

    desk.while_waiting = pay_and_drain
    for _ in range(10):
        answers.append(world.pay("alice", BANK, 1))
        assert_problem(desk.patch("alice", status="closed"), 422, "account_not_empty")
    assert {answer.status_code for answer in answers} == {201}
    assert desk.trail("alice") == []
    assert world.get("/v1/accounts/alice").headers["ETag"] == version
    assert world.sql("SELECT count(*) FROM unfinished_change") == [(0,)]


def test_a_frozen_account_stays_frozen_while_it_is_paused(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.account("bob")
    world.pay("alice", BANK, 120)
    desk.changed("alice", status="frozen_debits")
    answers = []

    def pay_and_drain() -> None:
        answers.extend([world.pay("alice", "bob", 1), world.pay(BANK, "alice", 1)])
        desk.drain_once()

    desk.while_waiting = pay_and_drain
    desk.changed("alice", overdraft_limit_minor=20, force=True)
    assert_problem(answers[0], 422, "account_frozen")
    assert_problem(answers[1], 409, "account_paused", retryable=True)


def test_two_who_close_an_account_at_once_do_not_end_each_others_pause(desk: Desk, world: World) -> None:
    world.funded("alice", 100, overdraft_limit_minor=50)
    world.pay("alice", BANK, 120)
    other = Desk(world.with_settings())
    seen = []

    def meanwhile() -> None:
        seen.append(other.patch("alice", overdraft_limit_minor=30, force=True))
        seen.append(world.pay(BANK, "alice", 1))
        desk.drain_once()

    desk.while_waiting = meanwhile
    desk.changed("alice", overdraft_limit_minor=20, force=True)
    assert_problem(seen[0], 503, "concurrency_retry_exhausted", retryable=True)
    assert_problem(seen[1], 409, "account_paused", retryable=True)
    assert world.get("/v1/accounts/alice").get_json()["overdraft_limit_minor"] == 20
    assert world.pay(BANK, "alice", 1).status_code == 201


def test_somebody_who_changes_the_account_meanwhile_wins_over_the_closing(desk: Desk, world: World) -> None:
    world.funded("alice", 100)
    world.account("bob")
    world.balance("bob")
    other = Desk(world.with_settings())

    def change_and_drain() -> None:
        other.changed("bob", status="frozen_debits", reason="still looking")
        desk.drain_once()

    desk.while_waiting = change_and_drain
    last_moment = Meddled(desk.ledger, PAUSE, lambda: world.pay("alice", "bob", 5))
    world.services.changes = desk.changes(ledger=last_moment)
    response = desk.patch("bob", status="closed")
    assert_problem(response, 503, "concurrency_retry_exhausted", retryable=True)
    assert world.get("/v1/accounts/bob").get_json()["status"] == "frozen_debits"
    assert world.pay("alice", "bob", 5).status_code == 201


def test_an_account_whose_closing_loses_the_cache_is_not_closed(desk: Desk, world: World) -> None:
    world.account("bob")
    calls: list[int] = []

    def lost(*arguments: object) -> None:
        calls.append(1)
        raise CacheUnavailable("gone")

    world.services.changes = desk.changes(cache=Overridden(desk.cache, pages=lost))
    assert_problem(desk.patch("bob", status="closed"), 503, "cache_unavailable", retryable=True)
    assert calls
    assert world.get("/v1/accounts/bob").get_json()["status"] == "open"
    assert world.pay(world.account(BANK, "asset"), "bob", 1).status_code == 201
