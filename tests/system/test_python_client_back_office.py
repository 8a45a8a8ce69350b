"""`holdfast-client` for those who reconcile, import statements, watch balances and audit, on a system of its own."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from holdfast_client import Client, NewJournalEntry
from holdfast_client.refusals import BreakNotRepairable, MatchConflict, NotFound

from tests.api.statement_walk import BANK, FEES, LAST_ON, RULES, WALLET, month
from tests.patience import COMMAND_S, PATIENCE_S, until
from tests.statements.month import Movement, as_camt
from tests.system.harness import System


@pytest.fixture(scope="module")
def holdfast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a system without anything but three accounts and the payments of a month."""
    system = System(tmp_path_factory.mktemp("back-office"))
    try:
        system.start()
        url = f"http://127.0.0.1:{system.port}"
        with Client(url, system.key, deadline_s=COMMAND_S, attempt_s=PATIENCE_S) as client:
            client.create_account(BANK, "asset", "EUR")
            client.create_account(FEES, "expense", "EUR")
            client.create_account(WALLET, "liability", "EUR")
            opening = Movement("walk-opening", date(2025, 12, 31), 10_000_000, WALLET)
            for one in (opening, *month().payments):
                at = datetime(one.day.year, one.day.month, one.day.day, 12, tzinfo=UTC)
                client.pay(BANK, WALLET, one.amount_minor, "EUR", external_id=one.reference, effective_at=at, wait_s=20)
            yield client
    finally:
        system.stop()


def test_a_month_is_imported_matched_and_signed(holdfast: Client) -> None:
    assert holdfast.save_statement_source("walk", "camt", options={}).name == "walk"
    assert [one.format for one in holdfast.list_statement_sources()] == ["camt"]
    file = as_camt(month()).encode()
    assert holdfast.import_statement("walk", "january.xml", file, trial=True).import_id is None
    imported = holdfast.import_statement("walk", "january.xml", file)
    assert imported.added_count == 4
    again = holdfast.import_statement("walk", "january.xml", file)
    assert again.earlier_import_id == imported.import_id
    [statement] = holdfast.list_statements(source_name="walk")
    assert holdfast.get_statement(statement.statement_id) == statement
    assert len(list(holdfast.list_statement_lines(statement.statement_id))) == 4

    linked = holdfast.save_statement_account("walk", "DE001", "EUR", BANK, rules=RULES)
    account = linked.statement_account_id
    assert holdfast.get_statement_account(account) == linked
    assert list(holdfast.list_statement_accounts()) == [linked]
    assert holdfast.run_matching(account, rules=RULES[1:]).match_run_id is None
    run = holdfast.run_matching(account)
    assert (run.matched, run.suggested) == (2, 2)
    right, wrong = holdfast.list_matches(account, state="suggested")
    assert holdfast.confirm_match(right.match_id, "yes").state == "matched"
    assert holdfast.undo_match(wrong.match_id, "not these").state == "undone"
    lines = [one.statement_line_id for one in wrong.lines]
    numbers = [one.entry_number for one in wrong.entries]
    made = holdfast.make_match(account, lines, numbers, "after all")
    assert holdfast.get_match(made.match_id).state == "matched"
    with pytest.raises(MatchConflict):
        holdfast.make_match(account, lines, numbers, "twice")
    assert holdfast.split_match(made.match_id, lines, numbers, "these").former_match_id == made.match_id
    [charged] = [one for one in holdfast.list_matches(account, state="matched") if one.rule == "Less a charge"]
    assert holdfast.post_match_difference(charged.match_id, FEES, "the bank's charge").journal_id is not None
    assert list(holdfast.list_unmatched(account, through=LAST_ON)) == []

    assert holdfast.get_period(account, LAST_ON).last_on == LAST_ON
    signed = holdfast.sign_off(account, LAST_ON, remark="January")
    assert holdfast.reopen_sign_off(account, signed.sign_off_id, "corrected").former_id == signed.sign_off_id
    assert holdfast.sign_off(account, LAST_ON).version == 2
    assert [one.action for one in holdfast.list_sign_offs(account)] == ["signed", "reopened", "signed"]


def test_breaks_are_worked_on_and_runs_are_asked_for(holdfast: Client) -> None:
    holdfast.save_statement_source("other bank", "camt", options={})
    holdfast.import_statement("other bank", "january.xml", as_camt(month()).encode())
    other = holdfast.save_statement_account("other bank", "DE001", "EUR", BANK, rules=[])
    holdfast.run_matching(other.statement_account_id)
    unmatched = {one.break_id for one in holdfast.list_unmatched(other.statement_account_id)}
    found = list(holdfast.list_breaks(state="open", source="outside"))
    assert found
    assert {one.break_id for one in found} <= unmatched
    one = found[0]
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    worked_on = holdfast.change_break(one.break_id, comment="asked the bank", state="investigating", due_at=due_at)
    assert (worked_on.state, worked_on.due_at) == ("investigating", due_at)
    assert holdfast.change_break(one.break_id, owner=None, comment="nobody's").owner is None
    assert [event.comment for event in holdfast.get_break(one.break_id).history[-2:]] == ["asked the bank", "nobody's"]
    assert sum(row.breaks for row in holdfast.break_ageing()) == len(found)
    for call in (lambda: holdfast.preview_repair(one.break_id), lambda: holdfast.repair_break(one.break_id, "r", "t")):
        with pytest.raises(BreakNotRepairable):
            call()
    asked = holdfast.reconcile("full")
    until(lambda: holdfast.get_reconciliation_request(asked.request_id).state == "done", within_s=COMMAND_S)
    run_id = holdfast.get_reconciliation_request(asked.request_id).run_id
    assert run_id is not None
    assert holdfast.get_reconciliation_run(run_id).mode == "full"
    assert run_id in {run.run_id for run in holdfast.list_reconciliation_runs()}


def test_balances_are_watched_and_webhooks_are_looked_after(holdfast: Client) -> None:
    monitor = holdfast.create_monitor(WALLET, "available", "above", 1, name="rich")
    assert monitor.is_met
    assert holdfast.get_monitor(monitor.monitor_id) == monitor
    assert [one.monitor_id for one in holdfast.list_monitors(account_id=WALLET)] == [monitor.monitor_id]
    assert holdfast.end_monitor(monitor.monitor_id).ended_at is not None
    assert list(holdfast.list_monitors()) == []
    made = holdfast.create_webhook("https://shop.example/x", types=["payment.posted"])
    changed = holdfast.change_webhook(made.endpoint_id, name="the shop", state="disabled", types=None)
    assert (changed.name, changed.state, changed.types) == ("the shop", "disabled", None)
    assert holdfast.get_webhook(made.endpoint_id) == changed
    assert holdfast.rotate_webhook_secret(made.endpoint_id, overlap_hours=1).secret != made.secret
    assert list(holdfast.list_deliveries(made.endpoint_id)) == []
    assert holdfast.resend_dead_letters(made.endpoint_id).events == 0
    holdfast.delete_webhook(made.endpoint_id)
    with pytest.raises(NotFound):
        holdfast.get_webhook(made.endpoint_id)


def test_everything_is_reported_proved_and_on_record(holdfast: Client) -> None:
    assert [one.currency_code for one in holdfast.balance_sheet().data] == ["EUR"]
    year = datetime(2026, 1, 1, tzinfo=UTC)
    statement = holdfast.income_statement(from_=year, to=year + timedelta(days=365), by="effective")
    assert statement.period_begins_at == year
    assert list(holdfast.conflicts()) == list(holdfast.conflict_hours()) == []
    entries = [
        NewJournalEntry(account_id=WALLET, direction="debit", amount_minor=3),
        NewJournalEntry(account_id=BANK, direction="credit", amount_minor=3),
    ]
    journal = holdfast.post_journal(entries, "a correction", external_id="journal-1")
    assert journal.journal_id is not None
    assert holdfast.get_evidence_of_journal(journal.journal_id)["subject"]["id"] == journal.journal_id
    assert holdfast.find_evidence("journal-1")["subject"]["id"] == journal.journal_id
    paid = holdfast.pay(BANK, WALLET, 10, "EUR", wait_s=20)
    refund = holdfast.refund(paid, 4)
    assert holdfast.get_evidence_of_refund(refund.refund_id)["subject"]["id"] == refund.refund_id
    head = next(iter(holdfast.list_heads()))
    proof = holdfast.head_consistency(head.partition, head.chain_seq, head.chain_seq)
    assert (proof.partition, proof.to_size) == (head.partition, head.chain_seq)
    [record] = holdfast.list_audit(external_id="journal-1", method="POST")
    assert holdfast.get_audit(record.audit_id).audit_id == record.audit_id
    assert record.audit_id in holdfast.export_audit(external_id="journal-1")
    assert holdfast.get_asset("EUR").minor_units == 2
    assert holdfast.liveness().status == "alive"
    assert "holdfast_open_breaks" in holdfast.metrics()
    assert "insufficient_funds" in {one.code for one in holdfast.list_problems()}
    key = holdfast.create_key("a test", ["payments:read"])
    assert holdfast.get_key(key.key_id).name == "a test"


def test_journals_are_proposed_and_proposals_withdrawn(holdfast: Client) -> None:
    entries = [
        NewJournalEntry(account_id=WALLET, direction="debit", amount_minor=3),
        NewJournalEntry(account_id=BANK, direction="credit", amount_minor=3),
    ]
    proposed = holdfast.propose_journal(entries, "to be looked at", external_id="proposal-1")
    assert holdfast.propose_journal(entries, "to be looked at", external_id="proposal-1") == proposed
    assert holdfast.get_proposal(proposed.proposal_id) == proposed
    assert proposed.proposal_id in {one.proposal_id for one in holdfast.list_proposals()}
    assert holdfast.withdraw_proposal(proposed.proposal_id).state == "withdrawn"
    posted = holdfast.post_journal(entries, "posted")
    assert posted.journal_id is not None
    reversal = holdfast.propose_reversal(posted.journal_id, "a mistake")
    assert holdfast.withdraw_proposal(reversal.proposal_id).state == "withdrawn"
