"""What people decide about matches, and what the rules do beyond references."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from app.domain.journal_proposals import ApprovalMode
from app.domain.match_records import BY_HAND, MatchRecord, MatchState, NewMatch
from app.domain.matching_rules import read_rules
from app.domain.refusals import Refusal, RefusalCode
from app.domain.users import Role
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerUsers
from app.services.access.users import invite
from tests.services.statements.desk import BANK, FEES, Desk
from tests.statements.month import OPENING_MINOR, Month, Movement, Stated, right_month
from tests.world import World

DAY = date(2026, 1, 10)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    desk.open_accounts()
    return desk


def prepared(desk: Desk, payments: list[Movement], lines: list[Stated], rules: list[Any]) -> None:
    desk.pay(payments)
    desk.take_month(Month(payments, lines), "camt")
    desk.link(rules=rules)
    desk.match()


def line(id: str, amount_minor: int, reference: str = "", text: str = "x", day: date = DAY) -> Stated:
    return Stated(id, day, amount_minor, reference, text)


def paid(reference: str, amount_minor: int, day: date = DAY, customer: str = "customer:1") -> Movement:
    return Movement(reference, day, amount_minor, customer)


def refused(outcome: MatchRecord | Refusal | None) -> RefusalCode:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def done(outcome: MatchRecord | Refusal) -> MatchRecord:
    assert isinstance(outcome, MatchRecord), outcome
    return outcome


def suggested(desk: Desk) -> list[MatchRecord]:
    return desk.reads.matches(desk.account().statement_account_id, state=MatchState.SUGGESTED, limit=100)


def wanted(desk: Desk, *names: str, reason: str = "the same") -> NewMatch:
    """A match of what has none and is called so."""
    items = [one for one in desk.unmatched() if (one.line and one.line.text in names) or _entry_of(one) in names]
    lines = [one.line.statement_line_id for one in items if one.line]
    entries = [one.entry.entry_number for one in items if one.entry and not one.line]
    return NewMatch(desk.account().statement_account_id, lines, entries, reason)


def _entry_of(one: Any) -> str:
    return one.entry.external_id if one.entry else ""


AMOUNT = [{"name": "Same amount", "days": 2}]


def test_equal_amounts_are_paired_by_the_nearest_day_and_what_is_unclear_is_suggested(desk: Desk) -> None:
    payments = [paid("a", 500), paid("b", 500, date(2026, 1, 12)), paid("c", 700), paid("d", 700), paid("e", 900)]
    lines = [
        line("1", 500, day=date(2026, 1, 12)),
        line("2", 500),
        line("3", 700),
        line("4", 900, day=date(2026, 1, 15)),
    ]
    prepared(desk, payments, lines, AMOUNT)
    found = desk.reads.matches(desk.account().statement_account_id, limit=10)
    pairs = {(one.lines[0].line_id, one.entries[0].external_id): one for one in found}
    assert set(pairs) == {("1", "b"), ("2", "a"), ("3", "c")}
    assert [one.entries[0].external_id for one in suggested(desk)] == ["c"], "700 could be c or d"
    assert pairs["1", "b"].figures["rule"]["name"] == "Same amount"
    assert pairs["1", "b"].figures["days_apart"] == 0


def test_a_suggestion_is_confirmed_or_not_and_does_not_come_again(desk: Desk) -> None:
    prepared(
        desk, [paid("a", 500), paid("b", 600)], [line("1", 500), line("2", 600)], [{**AMOUNT[0], "suggests": True}]
    )
    first, second = suggested(desk)
    assert done(desk.decisions.confirm(first.match_id, "yes", "user:ann")).state is MatchState.MATCHED
    assert done(desk.decisions.undo(second.match_id, "not these", "user:ann")).state is MatchState.UNDONE
    assert refused(desk.decisions.confirm(second.match_id, "after all", "user:ann")) is RefusalCode.MATCH_CONFLICT
    assert {one.reason for one in desk.unmatched()} == {"missing_here", "missing_there"}
    assert (desk.match().suggested, len(desk.unmatched())) == (0, 2)
    assert [one.action for one in desk.reads.events(first.match_id)] == ["confirmed"]
    audited = desk.world.rows("SELECT action FROM audit_call WHERE action LIKE 'match.%' AND actor = 'user:ann'")
    assert sorted(row[0] for row in audited) == ["match.confirm", "match.undo"]


def test_a_payout_is_matched_with_its_payments_and_a_batch_with_its_details(desk: Desk) -> None:
    payments = [paid("p1", 1_000), paid("p2", 2_000), paid("p3", -300), paid("batch-9", -5_000)]
    lines = [line("P", 2_700, "po_1"), line("D1", -2_000, "batch-9"), line("D2", -3_000, "batch-9")]
    rules: list[Any] = [
        {"name": "Payout", "fields": {"reference": "metadata.payout"}, "cardinality": "1:N"},
        {"name": "Batch", "fields": {"reference": "external_id"}, "cardinality": "N:1"},
    ]
    # The ledger's payments name the payout in their metadata.
    desk.pay(payments)
    desk.world.tamper(
        """UPDATE ledger_transaction SET metadata = '{"payout": "po_1"}' WHERE external_id IN ('p1', 'p2', 'p3')"""
    )
    desk.take_month(Month(payments, lines), "camt")
    desk.link(rules=rules)
    report = desk.match()
    assert report.by_rule == {"Payout": 1, "Batch": 1}
    payout, batch = desk.reads.matches(desk.account().statement_account_id, limit=10)
    assert [one.external_id for one in payout.entries] == ["p1", "p2", "p3"]
    assert [one.line_id for one in batch.lines] == ["D1", "D2"]
    assert payout.difference_minor == batch.difference_minor == 0
    assert desk.unmatched() == []


def test_an_amount_within_the_tolerance_leaves_a_journal_that_somebody_posts(desk: Desk) -> None:
    rule = {"name": "Less a charge", "fields": {"reference": "external_id"}, "tolerance_minor": 100}
    rule["fee_account_id"] = FEES
    prepared(desk, [paid("dep-7702", 250_000)], [line("1", 249_900, "dep-7702")], [rule])
    [match] = desk.reads.matches(desk.account().statement_account_id, limit=10)
    assert (match.rule, match.difference_minor) == ("Less a charge", -100)
    settled = done(desk.decisions.post_difference(match.match_id, FEES, "the bank's charge", "user:ann"))
    assert (settled.difference_minor, settled.former_match_id) == (0, match.match_id)
    assert settled.journal_id is not None
    assert [entry.amount_minor for entry in settled.entries] == [250_000, -100]
    assert desk.world.booked(FEES) == 100
    assert desk.world.booked(BANK) == OPENING_MINOR + 249_900
    desk.world.assert_proven()


def test_a_fee_is_posted_and_matched_with_its_line(desk: Desk) -> None:
    prepared(desk, [], [line("F", -1_250, text="Account charges")], [])
    assert [one.reason for one in desk.unmatched()] == ["fee"]
    fee = wanted(desk, "Account charges", reason="charges of January")
    found = done(desk.decisions.match(fee, "user:ann", journal_account_id=FEES))
    assert [entry.amount_minor for entry in found.entries] == [-1_250]
    assert found.entries[0].day == DAY
    assert desk.unmatched() == []
    assert refused(desk.decisions.match(fee, "user:ann", journal_account_id=FEES)) is RefusalCode.MATCH_CONFLICT
    assert desk.world.booked(FEES) == 1_250


def test_by_hand_both_sides_must_add_up_unless_the_difference_is_accepted(desk: Desk) -> None:
    prepared(desk, [paid("a", 500), paid("b", 300)], [line("1", 810, text="both")], [])
    both = wanted(desk, "both", "a", "b")
    assert refused(desk.decisions.match(both, "user:ann")) is RefusalCode.MATCH_DIFFERS
    found = done(desk.decisions.match(both, "user:ann", accepts_difference=True))
    assert (found.rule, found.difference_minor, found.figures["reason"]) == (BY_HAND, 10, "the same")
    assert desk.unmatched() == []
    assert refused(desk.decisions.match(both, "user:ann")) is RefusalCode.MATCH_CONFLICT
    alone = NewMatch(desk.account().statement_account_id, [], [1], "alone")
    assert refused(desk.decisions.match(alone, "user:ann")) is RefusalCode.MATCH_DIFFERS


def test_a_split_keeps_a_part_and_frees_the_rest(desk: Desk) -> None:
    prepared(desk, [paid("a", 500), paid("b", -500)], [line("1", 500, text="in"), line("2", -500, text="out")], [])
    whole = done(desk.decisions.match(wanted(desk, "in", "out", "a", "b"), "user:ann"))
    part = ([one.statement_line_id for one in whole.lines if one.text == "in"], [whole.entries[0].entry_number])
    kept = done(desk.decisions.split(whole.match_id, *part, "only these", "user:ann"))
    assert kept.former_match_id == whole.match_id
    assert sorted(one.amount_minor for one in desk.unmatched()) == [-500, -500]
    former = desk.reads.match(whole.match_id)
    assert former is not None
    assert former.state is MatchState.UNDONE
    wrong = desk.decisions.split(kept.match_id, part[0], [], "nothing beside it", "user:ann")
    assert refused(wrong) is RefusalCode.MATCH_DIFFERS


def test_rules_are_tried_on_what_is_matched_already_and_nothing_is_stored(desk: Desk) -> None:
    month = right_month()
    prepared(desk, month.payments, month.lines, [])
    before = desk.world.rows("SELECT count(*), max(match_id) FROM statement_match")
    rules = read_rules([{"name": "Same amount", "days": 3}])
    report = desk.matching.run(desk.account(), "tests", trial_rules=rules)
    assert report.match_run_id is None
    assert report.agreeing == report.matched == len(month.payments)
    assert desk.world.rows("SELECT count(*), max(match_id) FROM statement_match") == before
    assert desk.unmatched() == []


def test_a_break_is_settled_when_the_missing_payment_comes(desk: Desk) -> None:
    prepared(desk, [], [line("1", 500, "late-one")], [])
    assert len(desk.unmatched()) == 1
    desk.pay([paid("late-one", 500)])
    report = desk.match()
    assert (report.matched, report.resolved_breaks) == (1, 1)
    assert desk.unmatched() == []
    settled = "SELECT state, reason_code, kind FROM reconciliation_break WHERE source = 'outside'"
    assert desk.world.rows(settled) == [("resolved", "matched", "only_on_statement")]


def test_where_journals_need_a_second_person_the_match_waits_for_it(desk: Desk) -> None:
    prepared(desk, [], [line("F", -1_250, text="Account charges")], [])
    fee = wanted(desk, "Account charges", reason="charges of January")
    decisions, approval = desk.new_decisions(ApprovalMode.PEOPLE), desk.new_approval(ApprovalMode.PEOPLE)
    waits = decisions.match(fee, "user:ann", journal_account_id=FEES)
    assert refused(waits) is RefusalCode.APPROVAL_NEEDED
    assert refused(decisions.match(fee, "user:ann", journal_account_id=FEES)) is RefusalCode.APPROVAL_NEEDED
    assert isinstance(waits, Refusal)
    assert desk.world.booked(FEES) == 0
    users = LedgerUsers(owner_engine(desk.world.settings.owner_database_url))
    invite(users, "bob", Role.CONTROLLER, "tests", datetime.now(UTC))
    approver = users.get("bob")
    assert approver is not None
    posted = approval.approve(int(str(waits.figures["proposal_id"])), approver)
    assert not isinstance(posted, Refusal), posted
    assert done(decisions.match(fee, "user:ann", journal_account_id=FEES)).journal_id == posted.transaction.payment_id
    assert desk.world.booked(FEES) == 1_250


@pytest.mark.parametrize(
    "forged",
    [
        "UPDATE statement_match SET state = 'suggested'",
        "UPDATE match_line SET is_live = false",
        "INSERT INTO match_line (match_id, statement_line_id) SELECT match_id, 2 FROM statement_match",
        "INSERT INTO match_entry (match_id, account_id, entry_number) SELECT match_id, 'clearing:bank', 3"
        " FROM statement_match",
        "UPDATE statement_match SET settled_on = '2030-01-01'",
        "DELETE FROM statement_match",
    ],
)
def test_the_app_changes_no_match_but_by_undoing_it(desk: Desk, forged: str) -> None:
    prepared(desk, [paid("a", 500), paid("b", 400)], [line("1", 500, "a"), line("2", 400)], [])
    with desk.world.connect(owner=False) as app, pytest.raises(psycopg.Error):
        app.execute(forged)  # type: ignore[arg-type]
