"""Signing a month off: both sides add up, a late change is refused, and a new version names the old one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import psycopg
import pytest

from app.domain.match_records import NewMatch
from app.domain.money import as_money
from app.domain.refusals import Refusal, RefusalCode
from app.domain.sign_off import SignOff, SignOffAction, first_broken
from app.ledger.statements import LedgerStatements
from tests.services.statements.desk import FEES, Desk
from tests.statements.month import LAST, OPENING_MINOR, Month, Movement, Stated, planted_month, right_month
from tests.world import World


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    desk.open_accounts()
    return desk


def matched(desk: Desk, month: Month, format: str = "camt") -> int:
    """A month that is in the ledger and on a statement, and matched; returns the id of its account."""
    desk.pay(month.payments)
    desk.take_month(month, format)
    account = desk.link(rules=[])
    desk.match()
    return account.statement_account_id


def signed(outcome: SignOff | Refusal) -> SignOff:
    assert isinstance(outcome, SignOff), outcome
    return outcome


def refused(outcome: object) -> RefusalCode:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def test_both_sides_add_up_by_day_and_the_bridge_explains_the_difference(desk: Desk) -> None:
    month = planted_month()
    matched(desk, month)
    figures = desk.sign_offs.next_period(desk.account(), LAST)
    assert figures.bank_opening_minor == figures.ledger_opening_minor == OPENING_MINOR
    assert figures.bank_closing_minor == month.closing_minor
    assert figures.ledger_closing_minor == OPENING_MINOR + sum(one.amount_minor for one in month.payments)
    assert (figures.unexplained_minor, figures.brought_forward_minor, figures.match_difference_minor) == (0, 0, 0)
    # Three amounts differ: each of them is outstanding on both sides.
    assert (figures.only_bank_count, figures.only_ledger_count) == (3 + 3 + 3 + 2 + 2, 2 + 3 + 3 + 2)
    [(day, bank, ledger)] = [one for one in figures.balances() if one[0].day == LAST]
    assert (day.stated_minor, bank, ledger) == (month.closing_minor, month.closing_minor, figures.ledger_closing_minor)
    assert any("no owner" in sentence for sentence in figures.missing())
    assert refused(desk.sign_offs.sign(desk.account().statement_account_id, LAST, "", "user:cleo")) == (
        RefusalCode.SIGN_OFF_INCOMPLETE
    )


def test_a_month_with_errors_is_signed_once_somebody_answers_for_each(desk: Desk) -> None:
    number = matched(desk, planted_month(), "mt940")
    kinds = "SELECT kind, count(*) FROM reconciliation_break WHERE source = 'outside' GROUP BY 1 ORDER BY 1"
    assert desk.world.rows(kinds) == [("amount_differs", 3), ("only_in_ledger", 7), ("only_on_statement", 10)]
    desk.accept_all()
    assert desk.match().new_breaks == 0
    assert desk.sign_offs.next_period(desk.account(), LAST).missing() == []
    summary = signed(desk.sign_offs.sign(number, LAST, "", "user:cleo")).figures()
    assert {one["state"] for one in summary["outstanding"]} == {"accepted"}
    assert len(summary["outstanding"]) == summary["only_bank_count"] + summary["only_ledger_count"] == 23


def test_a_signed_month_is_frozen_and_a_new_version_names_the_old_one(desk: Desk) -> None:
    month = right_month()
    month.lines.append(Stated("F", date(2026, 1, 20), -1_250, "", "Account charges"))
    number = matched(desk, month)
    [fee] = desk.unmatched()
    assert fee.line is not None
    charged = NewMatch(number, [fee.line.statement_line_id], [], "charges")
    fee_match = desk.decisions.match(charged, "user:ann", journal_account_id=FEES)
    assert not isinstance(fee_match, Refusal)
    first = signed(desk.sign_offs.sign(number, LAST, "January", "user:cleo"))
    assert (first.first_on, first.last_on, first.version, first.number) == (date(2026, 1, 1), LAST, 1, 1)
    assert first.figures()["unexplained_minor"] == 0

    late = desk.decisions.undo(fee_match.match_id, "a late change", "user:ann")
    assert refused(late) is RefusalCode.PERIOD_SIGNED_OFF
    with desk.world.connect(owner=False) as app, pytest.raises(psycopg.errors.RestrictViolation, match="signed off"):
        app.execute("UPDATE statement_match SET state = 'undone'")
    assert refused(desk.sign_offs.sign(number, LAST, "", "user:cleo")) is RefusalCode.SIGN_OFF_INCOMPLETE
    assert desk.match().matched == 0

    opened = signed(desk.sign_offs.reopen(number, first.sign_off_id, "the charges were wrong", "user:cleo"))
    assert (opened.action, opened.former_id, opened.signed_through) == (SignOffAction.REOPENED, first.sign_off_id, None)
    undone = desk.decisions.undo(fee_match.match_id, "a late change", "user:ann")
    assert not isinstance(undone, Refusal)
    again = NewMatch(number, charged.line_ids, [one.entry_number for one in fee_match.entries], "as it was")
    assert not isinstance(desk.decisions.match(again, "user:ann"), Refusal)
    second = signed(desk.sign_offs.sign(number, LAST, "January again", "user:cleo"))
    assert (second.version, second.former_id, second.previous_hash) == (2, first.sign_off_id, opened.hash)
    chain = desk.sign_offs.chain(number)
    assert [one.action for one in chain] == ["signed", "reopened", "signed"]
    assert first_broken(chain) is None


def test_the_next_month_goes_on_where_the_signed_one_has_ended(desk: Desk) -> None:
    month = right_month()
    number = matched(desk, month, "mt940")
    january = signed(desk.sign_offs.sign(number, LAST, "", "user:cleo"))
    opening = month.closing_minor
    february = "\n".join([
        ":20:F", ":25:10020030/1234567", ":28C:2/1", f":60F:C260131EUR{opening // 100},{opening % 100:02}",
        ":61:2602030203C50,00NMSCfeb-1", f":62F:C260228EUR{(opening + 5_000) // 100},{opening % 100:02}", "-", "",
    ])  # fmt: skip
    desk.pay([Movement("feb-1", date(2026, 2, 2), 5_000, "customer:1")])
    desk.take(february, "mt940")
    assert desk.match().matched == 1
    through = date(2026, 2, 28)
    figures = desk.sign_offs.next_period(desk.account(), through)
    assert (figures.first_on, figures.bank_opening_minor) == (date(2026, 2, 1), month.closing_minor)
    assert figures.missing() == []
    second = signed(desk.sign_offs.sign(number, through, "", "user:cleo"))
    assert (second.version, second.former_id, second.previous_hash) == (1, None, january.hash)
    assert (
        refused(desk.sign_offs.reopen(number, january.sign_off_id, "too late", "x")) is RefusalCode.SIGN_OFF_INCOMPLETE
    )
    # What comes late into a signed period shows in the next one, whose opening balance is another than was signed.
    desk.pay([Movement("too-late", date(2026, 1, 5), 900, "customer:1")])
    following = desk.sign_offs.figures(desk.account(), date(2026, 3, 1), date(2026, 3, 1))
    closing_minor = second.figures()["ledger_closing_minor"]
    now, signed_then = as_money(closing_minor + 900, 2), as_money(closing_minor, 2)
    assert f"The ledger's opening balance is {now} EUR, and {signed_then} EUR was signed off." in following.missing()


def test_a_changed_record_shows(desk: Desk) -> None:
    number = matched(desk, right_month(), "mt940")
    first = signed(desk.sign_offs.sign(number, LAST, "", "user:cleo"))
    assert json.loads(first.summary)["bank_closing_minor"] == first.figures()["bank_closing_minor"]
    changed = replace(first, summary=first.summary.replace("2026-01-31", "2026-01-30"))
    assert first_broken([changed]) == changed
    assert first_broken([replace(first, number=2)]) is not None
    assert first_broken([first]) is None
    forged = """
        INSERT INTO sign_off (statement_account_id, number, action, first_on, last_on, version, signed_through, summary,
            reason, signed_by, signed_at, previous_hash, hash)
        SELECT statement_account_id, 2, 'signed', '2026-02-01', '2026-02-28', 1, '2026-02-28', '{}', '', 'x', now(),
            '\\x00', hash FROM sign_off
    """
    with desk.world.connect(owner=False) as app, pytest.raises(psycopg.errors.RestrictViolation, match="follow"):
        app.execute(forged)


def test_a_bank_that_states_another_balance_than_its_lines_lead_to_bars_the_signature(desk: Desk) -> None:
    month = right_month()
    number = matched(desk, month, "mt940")
    closing = month.closing_minor + 100
    other = "\n".join([
        ":20:X", ":25:10020030/1234567", ":28C:9/1", f":60F:C260131EUR{closing // 100},{closing % 100:02}",
        f":62F:C260131EUR{closing // 100},{closing % 100:02}", "-", "",
    ])  # fmt: skip
    desk.take(other, "mt940")
    [sentence] = desk.sign_offs.next_period(desk.account(), LAST).missing()
    stated, computed = as_money(closing, 2), as_money(month.closing_minor, 2)
    assert sentence == f"On 2026-01-31 the bank states {stated} EUR, and its lines lead to {computed} EUR."
    assert refused(desk.sign_offs.sign(number, LAST, "", "user:cleo")) is RefusalCode.SIGN_OFF_INCOMPLETE
    assert any("reach" in one for one in desk.sign_offs.next_period(desk.account(), date(2026, 2, 28)).missing())


def test_without_a_stated_opening_balance_the_first_closing_one_gives_it(desk: Desk) -> None:
    month = right_month()
    number = matched(desk, month, "ofx")
    figures = desk.sign_offs.next_period(desk.account(), LAST)
    assert (figures.opening, figures.bank_opening_minor) == ("derived", OPENING_MINOR)
    assert figures.missing() == []
    assert signed(desk.sign_offs.sign(number, LAST, "", "user:cleo")).version == 1


def test_lines_that_come_after_the_signature_are_told_until_the_period_is_signed_again(desk: Desk) -> None:
    month = right_month()
    number = matched(desk, month)
    first = signed(desk.sign_offs.sign(number, LAST, "", "user:cleo"))
    month.lines.append(Stated("F", date(2026, 1, 20), -1_250, "", "Account charges"))
    report = desk.take_month(month, "camt")
    [late] = report.late
    assert late.sentence == (
        "1 line falls in the month that is signed off through 2026-01-31: it stands as an unmatched line of the next "
        "period; reopen the month to take it in."
    )
    statements = LedgerStatements(desk.world.engine)
    assert statements.late_lines() == report.late
    desk.match()
    desk.accept_all()
    signed(desk.sign_offs.reopen(number, first.sign_off_id, "a late charge", "user:cleo"))
    assert statements.late_lines() == []
    signed(desk.sign_offs.sign(number, LAST, "", "user:cleo"))
    assert statements.late_lines() == []
