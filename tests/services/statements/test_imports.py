"""Importing statements: once, whole or not at all, and what is wrong is told."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.domain.statement import UnreadableStatement
from app.domain.statement_proof import StatementBreakKind
from app.domain.statement_source import InvalidOptions, StatementFormat, StatementSource
from app.ledger.statements import LedgerStatements
from app.services.statements.imports import ImportReport
from app.services.statements.sources import save_source
from app.wiring.statements import build_imports, build_statements
from tests.statements.reading import CSV_OPTIONS, camt, camt_entry, mt940, ofx, ofx_transaction, stripe, stripe_row
from tests.world import World


class Desk:
    """Where files come in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger: LedgerStatements = build_statements(world.settings)
        self.imports = build_imports(world.settings)

    def source(self, format: str, name: str = "", **options: Any) -> StatementSource:
        wanted = StatementSource(name or format, StatementFormat(format), options)
        return save_source(self.ledger, wanted, "tests")[0]

    def take(self, content: str | bytes, source: StatementSource, **more: Any) -> ImportReport:
        raw = content.encode() if isinstance(content, str) else content
        return self.imports.run(io.BytesIO(raw), "file", source, "tests", **more)

    def lines(self) -> list[tuple[Any, ...]]:
        return self.world.rows("SELECT amount_minor, line_id, ordinal FROM statement_line ORDER BY statement_line_id")

    def contents(self) -> list[list[tuple[Any, ...]]]:
        tables = ("import", "line", "batch", "break", "source")
        return [self.world.rows("SELECT * FROM statement ORDER BY 1")] + [
            self.world.rows(f"SELECT * FROM statement_{table} ORDER BY 1") for table in tables
        ]


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


FILES = {
    "stripe": stripe(
        stripe_row("txn_1", "payout", "-75.57", payout="po_1"),
        stripe_row("txn_2", "charge", "104.13", "3.37", "100.76", payout="po_1"),
        stripe_row("txn_3", "reserved_funds", "-25.19", payout="po_1"),
    ),
    "camt": camt(camt_entry("1.00", ref="A"), camt_entry("1.00"), camt_entry("1.00")),
    "mt940": mt940(":61:251230C1,00NMSC", ":61:251230C1,00NMSC", closing="C251231EUR102,00"),
    "ofx": ofx(ofx_transaction("1.00", "A"), ofx_transaction("1.00", "B"), ofx_transaction("1.00")),
    "csv": "Date,Amount,Text\n2026-01-02,1.00,a\n2026-01-02,1.00,a\n2026-01-02,2.00,b\n",
}


@pytest.mark.parametrize("format", FILES)
def test_a_file_imported_twice_changes_nothing_the_second_time(desk: Desk, format: str) -> None:
    source = desk.source(format, **(CSV_OPTIONS if format == "csv" else {}))
    first = desk.take(FILES[format], source)
    assert first.import_id is not None
    assert first.judged.added == first.line_count == len(desk.lines())
    assert first.breaks == []
    before = desk.contents()
    second = desk.take(FILES[format], source)
    assert second.earlier_import_id == first.import_id
    assert desk.contents() == before
    # A file that says the same in other bytes brings no line either.
    third = desk.take(FILES[format].replace("\n", "\r\n"), source)
    assert (third.judged.added, third.judged.known) == (0, first.line_count)
    assert len(desk.lines()) == first.line_count


def test_two_equal_lines_are_two_lines_also_across_overlapping_files(desk: Desk) -> None:
    source = desk.source("csv", **CSV_OPTIONS)
    head, equal, other = "Date,Amount,Text\n", "2026-01-02,1.00,a\n", "2026-01-03,2.00,b\n"
    assert desk.take(head + equal * 2, source).judged.added == 2
    overlapping = desk.take(head + equal * 2 + other, source)
    assert (overlapping.judged.added, overlapping.judged.known) == (1, 2)
    assert desk.take(head + equal * 3, source).judged.added == 1
    assert [ordinal for amount, _, ordinal in desk.lines() if amount == 100] == [1, 2, 3]


def test_equal_lines_of_two_statements_are_told_apart_where_the_format_numbers_them(desk: Desk) -> None:
    source = desk.source("mt940")
    line = ":61:251230C1,00NMSC"
    assert desk.take(mt940(line, page="1/1"), source).judged.added == 1
    assert desk.take(mt940(line, page="2/1"), source).judged.added == 1


def test_an_id_that_is_used_again_with_another_content_is_a_break(desk: Desk) -> None:
    source = desk.source("ofx")
    desk.take(ofx(ofx_transaction("1.00", "A"), ofx_transaction("1.00", "B")), source)
    report = desk.take(ofx(ofx_transaction("1.00", "A"), ofx_transaction("2.00", "B")), source)
    assert (report.judged.added, report.judged.known, report.judged.reused) == (0, 1, 1)
    [found] = report.breaks
    assert found.kind is StatementBreakKind.ID_REUSED
    assert found.figures == {"line_id": "B", "amount_minor": 200, "former_minor": 100}
    assert (found.line, found.position) == (17, 2)
    assert [amount for amount, _, _ in desk.lines()] == [100, 100]
    within = desk.take(ofx(ofx_transaction("5.00", "C"), ofx_transaction("6.00", "C")), source)
    assert [one.kind for one in within.breaks] == [StatementBreakKind.ID_REUSED]
    assert within.judged.added == 1


def test_one_id_in_two_accounts_or_sources_is_two_lines(desk: Desk) -> None:
    source = desk.source("ofx")
    for account in ("1", "2"):
        assert desk.take(ofx(ofx_transaction("1.00", "A"), account=account), source).judged.added == 1
    assert desk.take(ofx(ofx_transaction("1.00", "A")), desk.source("ofx", "other bank")).judged.added == 1


def test_a_line_given_twice_under_one_id_is_one_line(desk: Desk) -> None:
    report = desk.take(ofx(ofx_transaction("1.00", "A"), ofx_transaction("1.00", "A")), desk.source("ofx"))
    assert (report.judged.added, report.judged.known) == (1, 1)
    assert ["stands twice in this file" in one.detail for one in report.breaks] == [True]


def test_refused_lines_are_recorded_by_line_position_and_cause(desk: Desk) -> None:
    report = desk.take(ofx(ofx_transaction("1.00", "A"), ofx_transaction("12.345", "B")), desk.source("ofx"))
    assert (report.judged.added, report.refused_count) == (1, 1)
    [(kind, line, position, detail)] = desk.world.rows("SELECT kind, line, position, detail FROM statement_break")
    assert (kind, line, position) == ("line_refused", 17, 2)
    assert "'12.345'" in detail
    assert desk.world.rows("SELECT action, actor FROM audit_call WHERE action LIKE 'statement.%%' ORDER BY action") == [
        ("statement.import", "tests"),
        ("statement.source", "tests"),
    ]
    [record] = desk.ledger.last_imports()
    assert (record.break_count, record.refused_count, record.added_count) == (1, 1, 1)


def test_a_statement_that_does_not_add_up_is_stored_with_its_difference(desk: Desk) -> None:
    report = desk.take(mt940(":61:251230C1,00NMSC", closing="C251231EUR101,05"), desk.source("mt940"))
    assert [one.kind for one in report.breaks] == [StatementBreakKind.BALANCE_DIFFERS]
    [record] = desk.ledger.statements(limit=10, after=0)
    assert (record.proof, record.difference_minor, record.lines_minor) == ("differs", 5, 100)


def test_payouts_are_explained_to_the_cent_or_with_the_remainder(desk: Desk) -> None:
    source = desk.source("stripe")
    assert desk.take(FILES["stripe"], source).explained_payouts == 1
    rows = [
        stripe_row("a1", "payout", "-10.00", payout="po_a"),
        stripe_row("a2", "charge", "10.50", "0.40", "10.10", payout="po_a"),
        stripe_row("b1", "payout", "-3.00"),
        stripe_row("c1", "reserved_funds", "1.00"),
        stripe_row("d1", "payout", "-9.00", payout="po_d"),
        *[stripe_row("d2", "charge", "9.00", payout="po_d")] * 2,
    ]
    report = desk.take(stripe(*rows), source)
    assert report.explained_payouts == 1, "a doubled row is one line"
    payouts = [one for one in report.breaks if one.kind is StatementBreakKind.PAYOUT_DIFFERS]
    assert [one.line for one in report.breaks if one not in payouts] == [8], "and the doubled row is told"
    assert {one.figures["batch_id"]: one.figures["remainder_minor"] for one in payouts} == {
        "po_a": 10,
        "src_b1": -300,
    }


def test_a_line_that_is_paid_out_later_is_the_same_line(desk: Desk) -> None:
    source = desk.source("stripe")
    assert desk.take(stripe(stripe_row("a", "charge", "5.00")), source).judged.added == 1
    later = [stripe_row("a", "charge", "5.00", payout="po_1"), stripe_row("p", "payout", "-5.00", payout="po_1")]
    report = desk.take(stripe(*later), source)
    assert (report.judged.added, report.judged.known, report.explained_payouts) == (1, 1, 1)
    assert report.breaks == []
    changed = desk.take(stripe(stripe_row("a", "charge", "5.00", payout="po_2")), source)
    assert [one.kind for one in changed.breaks] == [StatementBreakKind.ID_REUSED]


def test_a_mapping_that_gives_a_wrong_sum_is_shown_before_anything_is_stored(desk: Desk) -> None:
    columns = {**CSV_OPTIONS["columns"], "balance": "Balance"}
    wrong = desk.source("csv", **{**CSV_OPTIONS, "columns": columns, "is_swapped": True})
    file = "Date,Amount,Text,Balance\n2026-01-02,1.00,a,11.00\n2026-01-03,2.00,b,13.00\n"
    report = desk.take(file, wrong)
    assert report.import_id is None
    assert "mapping" in report.withheld
    assert desk.lines() == []
    assert desk.take(file, wrong, accepts_differences=True).import_id is not None
    right = desk.source("csv", "right", **{**CSV_OPTIONS, "columns": columns})
    assert desk.take(file, right).withheld == ""


def test_a_trial_stores_nothing_and_tells_the_same(desk: Desk) -> None:
    source = desk.source("ofx")
    trial = desk.take(FILES["ofx"], source, is_trial=True)
    assert trial.import_id is None
    assert (trial.judged.added, desk.lines()) == (3, [])
    assert desk.take(FILES["ofx"], source).judged.added == 3


def test_a_file_that_breaks_off_stores_nothing(desk: Desk) -> None:
    entries = "".join(camt_entry("1.00", ref=str(n)) for n in range(50))
    document = camt(entries)
    with pytest.raises(UnreadableStatement):
        desk.take(document[:-200], desk.source("camt"))
    assert desk.lines() == []
    assert desk.ledger.last_imports() == []


def test_a_changed_source_is_a_new_version_and_reads_the_file_again(desk: Desk) -> None:
    first = desk.source("ofx")
    assert (first.version, desk.source("ofx").version) == (1, 1)
    desk.take(FILES["ofx"], first)
    second = desk.source("ofx", encoding="utf-8")
    assert second.version == 2
    assert desk.take(FILES["ofx"], second).judged.known == 3
    with pytest.raises(InvalidOptions):
        desk.source("ofx", surprise=1)
    with pytest.raises(InvalidOptions):
        desk.source("ofx", " x")


def test_imports_of_one_source_at_once_add_each_line_once(desk: Desk) -> None:
    source = desk.source("csv", **CSV_OPTIONS)
    files = ["Date,Amount,Text\n" + "2026-01-02,1.00,a\n" * 20 + "\n" * n for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        reports = list(threads.map(lambda file: desk.take(file, source), files))
    assert sum(report.judged.added for report in reports) == 20
    assert len(desk.lines()) == 20


def test_texts_and_details_come_back_as_they_were(desk: Desk) -> None:
    text = 'tab, "quote" \\ back\\nslash Ω'
    file = f'Date,Amount,Text\n2026-01-02,1.00,"{text.replace(chr(34), chr(34) * 2)}"\n'
    desk.take(file, desk.source("csv", **CSV_OPTIONS))
    [statement] = desk.ledger.statements(limit=1, after=0)
    [line] = desk.ledger.lines(statement.statement_id, limit=10, after=0)
    assert (line.text, line.amount_minor, line.line_id) == (text, 100, None)


def test_a_line_that_a_statement_was_not_written_with_is_refused_by_the_database(desk: Desk) -> None:
    desk.take(FILES["ofx"], desk.source("ofx"))
    forged = """
        INSERT INTO statement_line (statement_id, source_name, account_ref, currency_code, line, position, booked_on,
            amount_minor, kind, reference, counterparty, text, details, identity, ordinal, content)
        SELECT statement_id, source_name, account_ref, currency_code, 1, 1, booked_on, 999, '', '', '', '', '{}',
            '\\x00', 1, '\\x00' FROM statement_line LIMIT 1
    """
    with desk.world.connect(owner=False) as app, pytest.raises(errors.RestrictViolation, match="not those"):
        app.execute(forged)


@pytest.mark.parametrize("table", ["source", "import", "line", "batch", "break"])
def test_what_was_imported_is_not_changed(desk: Desk, table: str) -> None:
    for change in ("DELETE FROM", "TRUNCATE"):
        with desk.world.connect(owner=False) as app, pytest.raises(errors.InsufficientPrivilege):
            app.execute(f"{change} statement_{table}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.Error, match=r"append-only|cannot truncate"):
            desk.world.owner.execute(f"{change} statement_{table}")  # type: ignore[arg-type]
