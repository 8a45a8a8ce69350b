"""Refunds and journals in other words: the same meaning under the same external_id is a replay."""

import pytest

from app.domain import refunds
from app.domain.journals import Order, order_of
from app.domain.payment import Kind
from tests.api.world import assert_problem
from tests.journals.world import BANK, JOURNALS, JournalWorld, credit, debit, journal


@pytest.mark.parametrize(("first", "second"), [(None, 70), (70, None), (None, None), (70, 70)])
def test_a_refund_of_all_that_remains_is_the_refund_of_its_sum(
    world: JournalWorld, first: int | None, second: int | None
) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    world.refund(payment_id, 30)
    made = world.refund(payment_id, first, "r")
    assert made.status_code == 201
    again = world.refund(payment_id, second, "r")
    assert (again.status_code, again.get_json()) == (200, made.get_json())
    world.assert_proven()


@pytest.mark.parametrize(("first", "second"), [(60, None), (60, 70), (None, 60)])
def test_a_refund_of_another_sum_is_not(world: JournalWorld, first: int | None, second: int | None) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    world.refund(payment_id, 30)
    assert world.refund(payment_id, first, "r").status_code == 201
    problem = assert_problem(world.refund(payment_id, second, "r"), 422, "external_id_reused")
    assert problem["field"] == "amount_minor"


@pytest.mark.parametrize("asked", [None, 100])
def test_a_refund_that_an_earlier_version_kept_without_its_sum_is_replayed(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch, asked: int | None
) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)

    def without_sum(payment_id: str, external_id: str, _: object, reason: str | None, actor: str) -> Order:
        return order_of(Kind.REFUND, external_id, (payment_id, "", reason or ""), actor, reason, payment_id)

    with monkeypatch.context() as earlier:
        earlier.setattr(refunds, "refund_order", without_sum)
        made = world.refund(payment_id, None, "r")
    again = world.refund(payment_id, asked, "r")
    assert (again.status_code, again.get_json()) == (200, made.get_json())
    assert_problem(world.refund(payment_id, 99, "r"), 422, "external_id_reused")
    world.assert_proven()


def test_the_time_of_a_journal_counts_in_milliseconds(world: JournalWorld) -> None:
    world.clearing()
    world.account("bob")
    body = journal(debit(BANK, 5), credit("bob", 5), effective_at="2026-01-31T09:30:00.123456Z", metadata={})
    made = world.post(JOURNALS, body)
    assert (made.status_code, made.get_json()["effective_at"]) == (201, "2026-01-31T09:30:00.123Z")
    again = {**body, "effective_at": "2026-01-31T09:30:00.123Z", "metadata": None}
    for repeat in (body, again):
        assert world.post(JOURNALS, repeat).status_code == 200
    problem = assert_problem(world.post(JOURNALS, {**body, "effective_at": None}), 422, "external_id_reused")
    assert problem["field"] == "effective_at"
    world.assert_proven()
