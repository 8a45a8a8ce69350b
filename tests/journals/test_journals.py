"""Journals: many legs at once, each currency balanced, guarded legs held first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.cache import keys
from app.domain.money import MAX_MINOR
from app.domain.timestamps import rfc3339
from app.services.access.api_keys import Scope
from tests.api.world import assert_problem
from tests.journals.world import BANK, DRY, JOURNALS, JournalWorld, at_once, credit, debit, journal


def test_a_journal_is_posted_when_it_is_answered(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("fees", "revenue")
    world.account("bob")
    body = world.posted(debit("alice", 70), credit("bob", 60), credit("fees", 10), metadata={"ticket": 7})
    assert body["status"] == "posted"
    assert body["journal_id"] == "jrn_1"
    assert body["reason"] == "a correction"
    assert body["metadata"] == {"ticket": 7}
    assert [(e["account_id"], e["direction"], e["amount_minor"], e["balance_minor"]) for e in body["entries"]] == [
        ("alice", "debit", 70, 30),
        ("bob", "credit", 60, 60),
        ("fees", "credit", 10, 10),
    ]
    assert world.get(f"{JOURNALS}/jrn_1").get_json() == body
    assert world.balance("alice")["available_minor"] == 30
    assert world.pay("bob", "alice", 60).status_code == 201, "a credit in the ledger can be spent at once"
    world.drained()
    world.assert_proven()


def test_a_journal_may_take_effect_in_the_past_or_in_the_future(world: JournalWorld) -> None:
    world.clearing()
    world.account("bob")
    for moment in ("2020-01-31T12:00:00.000Z", "2999-12-31T12:00:00.000Z"):
        assert world.posted(debit(BANK, 5), credit("bob", 5), effective_at=moment)["effective_at"] == moment
    early = world.get("/v1/accounts/bob/balance?at=2020-02-01T00:00:00Z").get_json()
    assert early["balance_minor"] == 5
    assert world.balance("bob")["balance_minor"] == 10
    world.assert_proven()


def test_a_journal_dated_ahead_can_be_spent_at_once_and_is_not_reversed_before_its_time(world: JournalWorld) -> None:
    world.clearing()
    world.account("bob")
    ahead, past = "2999-12-31T12:00:00.000Z", "2020-01-31T12:00:00.000Z"
    later = world.posted(debit(BANK, 5), credit("bob", 5), effective_at=ahead)
    earlier = world.posted(debit(BANK, 6), credit("bob", 6), effective_at=past)
    assert world.balance("bob")["available_minor"] == 11
    path = f"{JOURNALS}/{later['journal_id']}/reversal"
    undone = world.post(path, {"external_id": "undo", "reason": "a mistake"}).get_json()
    assert undone["effective_at"] == ahead, "no report shows the reversal without the journal"
    before = world.get("/v1/accounts/bob/balance?at=2999-12-31T11:00:00Z").get_json()
    assert before["balance_minor"] == 6
    path = f"{JOURNALS}/{earlier['journal_id']}/reversal"
    undone = world.post(path, {"external_id": "undo too", "reason": "a mistake"}).get_json()
    assert undone["effective_at"] == undone["posted_at"]
    world.assert_proven()


def test_a_refund_is_never_dated_before_its_payment(world: JournalWorld) -> None:
    """A caller's clock may run ahead of ours by less than a minute."""
    world.funded("alice", 100)
    world.account("shop")
    ahead = rfc3339(datetime.now(UTC) + timedelta(seconds=50))
    payment_id = world.paid("alice", "shop", 100, effective_at=ahead)
    assert world.refund(payment_id).status_code == 201
    shop = world.get(f"/v1/accounts/shop/balance?at={ahead}").get_json()
    assert shop["balance_minor"] == 0
    [(refunded_at,)] = world.sql("SELECT effective_at FROM ledger_transaction WHERE kind = 'refund'")
    assert rfc3339(refunded_at) == ahead
    world.assert_proven()


def test_the_refusal_of_a_payment_dated_ahead_names_no_way_around(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    response = world.pay("alice", "shop", 1, effective_at="2999-12-31T12:00:00Z")
    problem = assert_problem(response, 422, "effective_at_in_future")
    assert "journal" not in problem["detail"]
    assert "when it is due" in problem["detail"]
    assert "2999-12-31 12:00:00 UTC lies" in problem["detail"]


def test_a_journal_crosses_currencies_through_exchange_accounts(world: JournalWorld) -> None:
    world.funded("alice", 1_000)
    world.account("alice-usd", currency_code="USD")
    world.account("exchange-eur", "equity", "EUR")
    world.account("exchange-usd", "equity", "USD")
    body = world.posted(
        debit("alice", 1_000), credit("exchange-eur", 1_000), debit("exchange-usd", 1_080), credit("alice-usd", 1_080)
    )
    assert [entry["currency_code"] for entry in body["entries"]] == ["EUR", "EUR", "USD", "USD"]
    assert (world.balance("alice")["balance_minor"], world.balance("alice-usd")["balance_minor"]) == (0, 1_080)
    world.assert_proven()


def test_guarded_legs_of_several_partitions_fall_together(world: JournalWorld) -> None:
    wallets = world.wallets(5, 100)
    world.posted(*(debit(one, 100) for one in wallets), credit(BANK, 500))
    assert [world.balance(one)["available_minor"] for one in wallets] == [0] * 5
    world.assert_proven()


def test_the_largest_journal_is_posted(world: JournalWorld) -> None:
    world.clearing()
    accounts = [world.account(f"many-{n}") for n in range(199)]
    body = world.posted(debit(BANK, 199), *(credit(one, 1) for one in accounts))
    assert len(body["entries"]) == 200
    world.posted(credit(BANK, 199), *(debit(one, 1) for one in accounts))
    world.assert_proven()


def test_without_funds_on_one_account_nothing_is_held_on_the_others(world: JournalWorld) -> None:
    rich, poor, other = world.wallets(3, 100)
    before = {one: world.balance(one)["version"] for one in (rich, other)}
    body = journal(debit(rich, 100), debit(poor, 101), debit(other, 100), credit(BANK, 301))
    problem = assert_problem(world.post(JOURNALS, body), 422, "insufficient_funds")
    assert (problem["account_id"], problem["available_minor"], problem["amount_minor"]) == (poor, 100, 101)
    assert [world.balance(one)["available_minor"] for one in (rich, poor, other)] == [100] * 3
    assert all(world.balance(one)["version"] >= version for one, version in before.items())
    world.assert_proven()
    world.deposit(poor, 1)
    world.drained()
    assert world.post(JOURNALS, body).status_code == 201, "nothing was decided for good"
    world.assert_proven()


def test_funds_that_a_pending_payment_holds_are_not_there_for_a_journal(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    assert world.pay("alice", "bob", 60).status_code == 201
    response = world.post(JOURNALS, journal(debit("alice", 41), credit(BANK, 41)))
    assert_problem(response, 422, "insufficient_funds")
    world.posted(debit("alice", 40), credit(BANK, 40))
    world.drained()
    world.assert_proven()


def test_a_repeat_answers_what_was_posted(world: JournalWorld) -> None:
    world.funded("alice", 100)
    body = journal(debit("alice", 70), credit(BANK, 70))
    first = world.post(JOURNALS, body)
    again = world.post(JOURNALS, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.get_json() == first.get_json()
    world.set_status("alice", "frozen")
    assert world.post(JOURNALS, body).status_code == 200, "what was posted stays posted"
    other = assert_problem(world.post(JOURNALS, body | {"reason": "another"}), 422, "external_id_reused")
    assert other["field"] == "reason"
    world.assert_proven()


@pytest.mark.usefixtures("patient_ledger")
def test_repeats_at_once_post_one(world: JournalWorld) -> None:
    world.funded("alice", 100)
    body = journal(debit("alice", 70), credit(BANK, 70))
    answers = at_once([lambda: world.post(JOURNALS, body)] * 8)
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.get_json()["journal_id"] for answer in answers}) == 1
    world.assert_proven()


def test_an_external_id_is_a_journals_or_a_payments(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    assert world.pay("alice", "bob", 10, external_id="one").status_code == 201
    body = journal(debit("alice", 10), credit(BANK, 10), external_id="one")
    assert_problem(world.post(JOURNALS, body), 422, "external_id_reused")
    world.drained()
    for kind in (keys.CLAIM, keys.RECORD):
        world.cache.delete(*world.cache.scan_iter(keys.pattern(kind)))
    assert_problem(world.post(JOURNALS, body), 422, "external_id_reused")
    world.posted(debit("alice", 10), credit(BANK, 10), external_id="two")
    late = world.pay("alice", "bob", 10, external_id="two").get_json()["payment_id"]
    world.drained()
    assert world.get(f"/v1/payments/{late}").get_json()["reason"]["code"] == "external_id_reused"
    assert world.get("/v1/payments?external_id=two").get_json()["data"] == []
    world.assert_proven()


def refused(world: JournalWorld) -> dict[str, tuple[int, str, dict[str, Any]]]:
    """Journals that are refused: status, code, body."""
    fine = (debit(BANK, 5), credit("bob", 5))
    return {
        "unbalanced": (422, "journal_unbalanced", journal(debit(BANK, 5), credit("bob", 4))),
        "unbalanced in one currency": (422, "journal_unbalanced", journal(debit(BANK, 5), credit("dollars", 5))),
        "one account twice": (422, "accounts_equal", journal(debit(BANK, 5), credit(BANK, 5))),
        "no such account": (404, "account_not_found", journal(debit(BANK, 5), credit("nobody", 5))),
        "frozen": (422, "account_frozen", journal(debit(BANK, 5), credit("frozen", 5))),
        "closed": (422, "account_closed", journal(debit(BANK, 5), credit("closed", 5))),
        "two entities": (422, "entity_mismatch", journal(debit(BANK, 5), credit("elsewhere", 5))),
        "nothing": (422, "amount_not_positive", journal(debit(BANK, 0), credit("bob", 0))),
        "negative": (422, "amount_not_positive", journal(debit(BANK, -5), credit("bob", -5))),
        "too much": (422, "amount_out_of_range", journal(debit(BANK, MAX_MINOR + 1), credit("bob", MAX_MINOR + 1))),
        "a fraction": (422, "amount_not_integer", journal(debit(BANK, 0.5), credit("bob", 0.5))),
        "one entry": (400, "malformed_request", journal(debit(BANK, 5))),
        "no reason": (400, "malformed_request", journal(*fine, reason="")),
        "a bad id": (422, "invalid_id", journal(*fine, external_id=" x")),
        "a hold's id": (422, "invalid_id", journal(*fine, external_id="a\x1fb")),
        "a time without offset": (400, "malformed_request", journal(*fine, effective_at="2026-01-31T12:00:00")),
    }


def test_what_cannot_be_posted_is_refused_and_leaves_nothing(world: JournalWorld) -> None:
    world.clearing()
    for account_id in ("bob", "frozen", "closed"):
        world.account(account_id)
    world.account("dollars", currency_code="USD")
    world.account("elsewhere", entity_id="other")
    world.set_status("frozen", "frozen_credits")
    world.set_status("closed", "closed")
    before = world.traces()
    for name, (status, code, body) in refused(world).items():
        problem = assert_problem(world.post(JOURNALS, body), status, code)
        assert_problem(world.post(DRY, body), status, code)
        if name == "unbalanced":
            assert (problem["currency_code"], problem["difference_minor"]) == ("EUR", 1)
    assert world.traces() == before
    world.assert_proven()


def test_an_account_frozen_elsewhere_is_frozen_for_the_very_next_journal(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.posted(debit("alice", 10), credit(BANK, 10))
    world.set_status("alice", "frozen_debits")
    assert_problem(world.post(JOURNALS, journal(debit("alice", 10), credit(BANK, 10))), 422, "account_frozen")
    world.posted(credit("alice", 10), debit(BANK, 10))
    world.assert_proven()


def test_a_balance_out_of_range_is_refused(world: JournalWorld) -> None:
    world.clearing()
    world.account("bob")
    world.posted(debit(BANK, MAX_MINOR), credit("bob", MAX_MINOR))
    again = world.post(JOURNALS, journal(debit(BANK, 1), credit("bob", 1)))
    assert_problem(again, 422, "balance_out_of_range")
    world.assert_proven()


def test_a_dry_run_checks_everything_and_leaves_no_trace(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.balance(BANK)
    body = journal(debit("alice", 70), credit(BANK, 70))
    before = world.traces()
    dry = world.post(DRY, body)
    assert dry.status_code == 200, dry.text
    shown = dry.get_json()
    assert (shown["journal_id"], shown["status"], shown["posted_at"]) == (None, "dry_run", None)
    assert [entry["balance_minor"] for entry in shown["entries"]] == [30, 30]
    assert_problem(world.post(DRY, journal(debit("alice", 101), credit(BANK, 101))), 422, "insufficient_funds")
    assert world.traces() == before
    assert world.post(JOURNALS, body).status_code == 201
    world.assert_proven()


def test_a_journal_is_reversed_once(world: JournalWorld) -> None:
    world.funded("alice", 100)
    posted = world.posted(debit("alice", 70), credit(BANK, 70))
    path = f"{JOURNALS}/{posted['journal_id']}/reversal"
    wanted = {"external_id": "undo", "reason": "a mistake"}
    reversal = world.post(path, wanted)
    assert reversal.status_code == 201, reversal.text
    body = reversal.get_json()
    assert (body["kind"], body["reverses"]) == ("reversal", posted["journal_id"])
    assert [(e["account_id"], e["direction"]) for e in body["entries"]] == [("alice", "credit"), (BANK, "debit")]
    assert world.balance("alice")["balance_minor"] == 100
    again = world.post(path, wanted)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    second = assert_problem(world.post(path, wanted | {"external_id": "undo-2"}), 409, "journal_already_reversed")
    assert second["reversed_by"] == body["journal_id"]
    assert world.get(f"{JOURNALS}/{posted['journal_id']}").get_json()["reversed_by"] == body["journal_id"]
    world.assert_proven()


def test_a_dry_run_of_a_reversal_answers_what_the_reversal_would_and_leaves_no_trace(world: JournalWorld) -> None:
    world.funded("alice", 100)
    path = f"{JOURNALS}/{world.posted(debit('alice', 70), credit(BANK, 70))['journal_id']}/reversal"
    wanted = {"external_id": "undo", "reason": "a mistake"}
    before = world.traces()
    dry = world.post(f"{path}?dry_run=true", wanted)
    assert dry.status_code == 200, dry.text
    assert world.traces() == before
    real = world.post(path, wanted)
    unknown = ("journal_id", "effective_at", "posted_at", "ledger_transaction")
    assert dry.get_json() == real.get_json() | dict.fromkeys(unknown) | {"status": "dry_run"}
    replayed = world.post(f"{path}?dry_run=true", wanted)
    assert (replayed.get_json(), replayed.headers["Idempotent-Replayed"]) == (real.get_json(), "true")
    other = wanted | {"external_id": "undo-2"}
    dry, real = world.post(f"{path}?dry_run=true", other), world.post(path, other)
    assert_problem(dry, 409, "journal_already_reversed")
    assert dry.get_json() == real.get_json()
    assert_problem(world.post(f"{path}?dry_run=yes", other), 400, "malformed_request")
    world.assert_proven()


@pytest.mark.usefixtures("patient_ledger")
def test_one_of_several_reversals_at_once_wins(world: JournalWorld) -> None:
    world.funded("alice", 100)
    path = f"{JOURNALS}/{world.posted(debit('alice', 70), credit(BANK, 70))['journal_id']}/reversal"
    bodies = [{"external_id": f"undo-{n}", "reason": "a mistake"} for n in range(8)]
    answers = at_once([lambda body=body: world.post(path, body) for body in bodies])  # type: ignore[misc]
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert world.balance("alice")["balance_minor"] == 100
    world.assert_proven()


def test_a_reversal_whose_money_is_spent_is_refused(world: JournalWorld) -> None:
    world.clearing()
    world.account("bob")
    posted = world.posted(debit(BANK, 70), credit("bob", 70))
    world.posted(debit("bob", 1), credit(BANK, 1))
    wanted = {"external_id": "undo", "reason": "a mistake"}
    assert_problem(world.post(f"{JOURNALS}/{posted['journal_id']}/reversal", wanted), 422, "insufficient_funds")
    world.assert_proven()


@pytest.mark.parametrize("journal_id", ["jrn_99", "nothing", "pay_1_2_3"])
def test_a_journal_that_does_not_exist_is_not_found(world: JournalWorld, journal_id: str) -> None:
    assert_problem(world.get(f"{JOURNALS}/{journal_id}"), 404, "journal_not_found")
    body = {"external_id": "x", "reason": "y"}
    assert_problem(world.post(f"{JOURNALS}/{journal_id}/reversal", body), 404, "journal_not_found")


@pytest.mark.parametrize(
    ("scope", "status"),
    [(Scope.READ, 403), (Scope.PAYMENTS_WRITE, 403), (Scope.ACCOUNTS_WRITE, 201), (Scope.JOURNALS_WRITE, 201)],
)
def test_posting_a_journal_needs_its_own_scope(world: JournalWorld, scope: Scope, status: int) -> None:
    world.clearing()
    world.account("bob")
    body = journal(debit(BANK, 5), credit("bob", 5))
    assert world.post(JOURNALS, body, key=world.key_with(scope)).status_code == status
