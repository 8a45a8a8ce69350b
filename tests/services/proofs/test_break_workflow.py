"""The workflow of breaks: a break is opened once, worked on, settled for good, and every step is on record."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.break_workflow import BreakChange, BreakFilter, BreakState, ReasonCode
from app.domain.found_breaks import BreakSource, EvidenceKind, EvidenceLink, FoundBreak
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.break_records import open_break, settle_break
from app.services.proofs.breaks import BreakHistory, Breaks
from app.wiring.proofs import build_breaks
from tests import hot_state
from tests.services.tampering import kinds
from tests.world import World

LINE = EvidenceLink(EvidenceKind.STATEMENT_LINE, "17")


@pytest.fixture
def breaks(settled: World) -> Breaks:
    """Breaks, with mira and jo, who may work on them, and with vic, who may only read."""
    for name, role in (("mira", "controller"), ("jo", "accountant"), ("vic", "viewer")):
        settled.rows(f"INSERT INTO app_user (user_id, role, created_by) VALUES ('{name}', '{role}', 'x') RETURNING 1")
    return build_breaks(settled.engine)


def missing_line(**more: Any) -> FoundBreak:
    return FoundBreak(
        BreakSource.OUTSIDE,
        "not_in_ledger",
        "bank/17",
        {"statement_minor": 310},
        account_id="alice",
        other_minor=310,
        evidence=(LINE,),
        **more,
    )


def opened(world: World, found: FoundBreak) -> tuple[int, bool]:
    with world.engine.begin() as connection:
        return open_break(connection.exec_driver_sql, found, "matching", "not found in the ledger")


def done(outcome: BreakHistory | Refusal) -> BreakHistory:
    assert isinstance(outcome, BreakHistory), outcome
    return outcome


def code_of(outcome: BreakHistory | Refusal) -> RefusalCode:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def drift(world: World) -> int:
    """Alice has 7 more in the cache, and a run has found it; returns the break."""
    hot_state.add(world.client, world.account_key("alice"), balance=7)
    world.reconcile()
    [(break_id,)] = world.rows("SELECT break_id FROM reconciliation_break")
    return int(break_id)


# Opening


def test_a_break_inside_has_both_sides_its_account_and_a_date_by_its_kind(settled: World, breaks: Breaks) -> None:
    found = breaks.get(drift(settled))
    assert found is not None
    record = found.record
    assert (record.source, record.kind, record.account_id) == (BreakSource.INSIDE, "cache_balance", "alice")
    assert (record.ledger_minor, record.other_minor, record.difference_minor) == (940, 947, 7)
    assert (record.entity_id, record.currency_code) == ("default", "EUR")
    assert record.evidence == [EvidenceLink(EvidenceKind.ACCOUNT, "alice")]
    assert record.due_at is not None
    assert timedelta(hours=3, minutes=59) < record.due_at - record.first_seen_at < timedelta(hours=4, minutes=1)
    assert [(event.action, event.state, event.due_at) for event in found.events] == [("opened", "open", record.due_at)]


def test_what_finds_a_difference_outside_opens_the_same_kind_of_break(settled: World, breaks: Breaks) -> None:
    break_id, is_new = opened(settled, missing_line())
    assert is_new
    assert opened(settled, missing_line()) == (break_id, False)
    found = breaks.get(break_id)
    assert found is not None
    record = found.record
    assert (record.source, record.currency_code, record.first_run_id) == (BreakSource.OUTSIDE, "EUR", None)
    assert (record.ledger_minor, record.other_minor, record.difference_minor) == (None, 310, 310)
    assert record.evidence == [LINE]
    assert [event.actor for event in found.events] == ["matching"]


def test_a_break_outside_says_nothing_about_the_books_inside(settled: World, breaks: Breaks) -> None:
    opened(settled, missing_line())
    report = settled.reconcile()
    assert (report.breaks, report.open_breaks) == ([], 0)
    assert settled.rows("SELECT state FROM reconciliation_break") == [("open",)]


def test_what_opened_a_break_can_settle_it(settled: World, breaks: Breaks) -> None:
    break_id, _ = opened(settled, missing_line())
    with settled.engine.begin() as connection:
        execute = connection.exec_driver_sql
        settle = (execute, "not_in_ledger", "bank/17", "user:jo", "matched with journal 4")
        assert settle_break(*settle, reason_code=ReasonCode.MATCHED) == ["bank/17"]
        assert settle_break(*settle, reason_code=ReasonCode.MATCHED) == []
    found = breaks.get(break_id)
    assert found is not None
    assert (found.record.state, found.record.reason_code) == (BreakState.RESOLVED, "matched")
    assert found.record.settled_at is not None


# Working on one


def test_every_change_is_in_the_history_and_in_the_audit(settled: World, breaks: Breaks) -> None:
    break_id = drift(settled)
    due_at = datetime(2030, 1, 2, 18, tzinfo=UTC)
    changes = [
        BreakChange({"owner": "jo"}),
        BreakChange({"state": BreakState.INVESTIGATING, "due_at": due_at}, "No posting touched it."),
        BreakChange({}, "The console was open at 10:48."),
        BreakChange({"state": BreakState.RESOLVED, "reason_code": "cache_written_by_hand"}, "Set back."),
    ]
    for change in changes:
        done(breaks.change(break_id, change, "user:mira"))
    found = breaks.get(break_id)
    assert found is not None
    told = [(e.actor, e.action, e.state, e.owner, e.reason_code, e.note) for e in found.events[1:]]
    assert told == [
        ("user:mira", "changed", "open", "jo", None, ""),
        ("user:mira", "changed", "investigating", "jo", None, "No posting touched it."),
        ("user:mira", "commented", "investigating", "jo", None, "The console was open at 10:48."),
        ("user:mira", "changed", "resolved", "jo", "cache_written_by_hand", "Set back."),
    ]
    assert found.events[-1].due_at == found.record.due_at == due_at
    audited = settled.rows("SELECT actor, account_id FROM audit_call WHERE action = 'break.change' ORDER BY number")
    assert audited == [("reconciler", "alice"), *[("user:mira", "alice")] * 4]
    assert "break_history" not in kinds(settled.reconcile().breaks)


def test_who_begins_to_investigate_what_nobody_owns_owns_it(settled: World, breaks: Breaks) -> None:
    break_id = drift(settled)
    change = BreakChange({"state": BreakState.INVESTIGATING})
    assert done(breaks.change(break_id, change, "user:jo")).record.owner == "jo"
    done(breaks.change(break_id, BreakChange({"state": BreakState.OPEN}), "user:jo"))
    assert done(breaks.change(break_id, change, "user:mira")).record.owner == "jo"


@pytest.mark.parametrize(
    ("fields", "comment", "field"),
    [
        ({"owner": "vic"}, "", "owner"),
        ({"owner": "nobody-we-know"}, "", "owner"),
        ({"reason_code": "fee"}, "", "reason_code"),
        ({"reason_code": "healed"}, "", "reason_code"),
        ({"state": BreakState.RESOLVED}, "Gone.", "reason_code"),
        ({"state": BreakState.ACCEPTED, "reason_code": "defect"}, "", "comment"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_refused(
    settled: World, breaks: Breaks, fields: dict[str, Any], comment: str, field: str
) -> None:
    break_id = drift(settled)
    outcome = breaks.change(break_id, BreakChange(fields, comment), "user:mira")
    assert code_of(outcome) is RefusalCode.BREAK_INCOMPLETE
    assert isinstance(outcome, Refusal)
    assert outcome.figures["field"] == field
    assert settled.rows("SELECT count(*) FROM reconciliation_break_event") == [(1,)]


def test_a_settled_break_takes_comments_only(settled: World, breaks: Breaks) -> None:
    break_id = drift(settled)
    accepted = {"state": BreakState.ACCEPTED, "reason_code": "other"}
    done(breaks.change(break_id, BreakChange(accepted, "A drill."), "user:mira"))
    again = breaks.change(break_id, BreakChange({"state": BreakState.OPEN}), "user:mira")
    assert code_of(again) is RefusalCode.BREAK_SETTLED
    assert (
        done(breaks.change(break_id, BreakChange({}, "See ticket 9."), "user:jo")).record.state is BreakState.ACCEPTED
    )


def test_a_difference_that_was_accepted_and_is_still_there_is_a_new_break(settled: World, breaks: Breaks) -> None:
    break_id = drift(settled)
    accepted = {"state": BreakState.ACCEPTED, "reason_code": "other"}
    done(breaks.change(break_id, BreakChange(accepted, "A drill."), "user:mira"))
    assert settled.reconcile().open_breaks == 1
    assert settled.rows("SELECT state FROM reconciliation_break ORDER BY break_id") == [("accepted",), ("open",)]


def test_there_is_no_change_of_what_is_not_there(breaks: Breaks) -> None:
    assert breaks.get(99) is None
    assert code_of(breaks.change(99, BreakChange({}, "x"), "user:mira")) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize("change", ["owner = 'eve'", "reason_code = 'other'", "due_at = now()"])
def test_a_change_past_the_program_is_found(settled: World, breaks: Breaks, change: str) -> None:
    break_id = drift(settled)
    done(breaks.change(break_id, BreakChange({"owner": "jo"}), "user:mira"))
    with settled.connect(owner=False) as app:
        app.execute(f"UPDATE reconciliation_break SET {change}")
    assert "break_history" in kinds(settled.reconcile().breaks)


# Lists and the ageing


def test_lists_are_filtered_and_the_next_due_comes_first(settled: World, breaks: Breaks) -> None:
    inside = drift(settled)
    outside, _ = opened(settled, missing_line(due_at=datetime(2020, 1, 1, tzinfo=UTC)))
    found, number = breaks.due_first(BreakFilter(), limit=10)
    assert ([one.break_id for one in found], number) == ([outside, inside], 2)
    assert [one.break_id for one in breaks.page(BreakFilter(source=BreakSource.INSIDE), limit=10)] == [inside]
    assert [one.break_id for one in breaks.page(BreakFilter(overdue_at=datetime.now(UTC)), limit=10)] == [outside]
    assert [one.break_id for one in breaks.page(BreakFilter(owner=""), limit=10, after=inside)] == [outside]
    assert breaks.page(BreakFilter(owner="jo"), limit=10) == []
    assert breaks.page(BreakFilter(entity_id="north"), limit=10) == []
    assert breaks.due_first(BreakFilter(account_id="alice"), limit=1)[1] == 2


def test_the_ageing_report_counts_by_account_currency_and_age(settled: World, breaks: Breaks) -> None:
    drift(settled)
    opened(settled, missing_line())
    settled.tamper("UPDATE reconciliation_break SET first_seen_at = now() - interval '4 days' WHERE source = 'outside'")
    outside, inside = breaks.ageing(datetime.now(UTC))
    assert (outside.source, outside.account_id, outside.currency_code) == (BreakSource.OUTSIDE, "alice", "EUR")
    assert (outside.counts, outside.total, outside.sum_minor) == ((0, 0, 1, 0), 1, 310)
    assert (inside.counts, inside.sum_minor, inside.overdue, inside.nobodys) == ((1, 0, 0, 0), 7, 0, 1)
    assert [(one.source, one.kind, one.state, one.count) for one in breaks.counts()] == [
        ("inside", "cache_balance", "open", 1),
        ("outside", "not_in_ledger", "open", 1),
    ]
