"""`reports` on the running system: what people, spreadsheets and cron get."""

import csv
import io

from tests.system.harness import Client, System


def test_reports_are_printed_exported_and_proved(system: System, client: Client) -> None:
    for account_id, kind in (("rep:bank", "asset"), ("rep:fees", "revenue")):
        body = {"account_id": account_id, "type": kind, "currency_code": "CHF"}
        assert client.request("POST", "/v1/accounts", body).status == 201
    entries = [
        {"account_id": "rep:bank", "direction": "debit", "amount_minor": 1_234_567},
        {"account_id": "rep:fees", "direction": "credit", "amount_minor": 1_234_567},
    ]
    journal = {"external_id": "rep-1", "reason": "a fee", "entries": entries, "effective_at": "2026-01-31T12:00:00Z"}
    assert client.request("POST", "/v1/journals", journal).status == 201

    options = ("--currency", "CHF", "--to", "2026-01-31")
    income = system.run("reports", "income-statement", *options, check=0).stdout
    assert "rep:fees" in income
    assert "12,345.67" in income
    assert "proved against the trial balance" in income
    assert "balanced" in system.run("reports", "trial-balance", *options, check=0).stdout
    sheet = system.run("reports", "balance-sheet", *options, "--csv", check=0).stdout
    lines = {row["line"]: row["amount"] for row in csv.DictReader(io.StringIO(sheet))}
    assert (lines["asset"], lines["result"], lines["difference"]) == ("12345.67", "12345.67", "0.00")
    before = system.run("reports", "income-statement", "--currency", "CHF", "--to", "2026-01-30", check=0).stdout
    assert "12,345.67" not in before


def test_a_time_that_is_none_is_refused_before_anything_runs(system: System) -> None:
    assert "neither a day nor a time" in system.run("reports", "balance-sheet", "--to", "soon", check=2).stderr
