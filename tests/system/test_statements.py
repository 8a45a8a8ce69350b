"""`statements` on the running system: exit codes, and what a cron job would mail."""

import json
from pathlib import Path

import pytest

from tests.statements.reading import CSV_OPTIONS, mt940, ofx, ofx_transaction
from tests.system.harness import Client, System


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "january.sta"
    path.write_text(mt940(":61:251230C1,00NMSC", closing="C251231EUR101,00"))
    return path


def test_a_file_is_imported_once_and_read_over_the_api(system: System, client: Client, file: Path) -> None:
    first = system.run("statements", "import", str(file), "--source", "sta", "--format", "mt940", check=0).stdout
    assert "opening 100.00 + 1 line of 1.00 = closing 101.00 EUR: proven" in first
    assert "1 added + 0 known" in first
    assert "was imported before" in system.run("statements", "import", str(file), "--source", "sta", check=0).stdout
    assert "proven" in system.run("statements", "list", "--source", "sta", check=0).stdout
    statements = client.request("GET", "/v1/statements?source_name=sta").body["data"]
    assert [one["lines_minor"] for one in statements] == [100]


def test_what_somebody_has_to_look_at_ends_with_1_and_status_says_so(system: System, tmp_path: Path) -> None:
    path = tmp_path / "bad.ofx"
    path.write_text(ofx(ofx_transaction("1.00", "A"), ofx_transaction("12.345", "B")))
    done = system.run("statements", "import", str(path), "--source", "bad", "--format", "ofx", check=1)
    assert "line 17, movement 2: line_refused" in done.stderr
    assert "1 refused" in done.stdout
    assert "bad: import" in system.run("statements", "status", check=1).stdout


def test_what_cannot_be_stored_ends_with_2(system: System, file: Path, tmp_path: Path) -> None:
    unknown = system.run("statements", "import", str(file), "--source", "nobody", check=2)
    assert "there is no source 'nobody'" in unknown.stderr
    wrong = system.run("statements", "import", str(file), "--source", "xml", "--format", "camt", check=2)
    assert "not well-formed" in wrong.stderr
    assert system.run("statements", "import", str(file), "--source", "xml", "--format", "ofx", check=2).returncode == 2
    options = tmp_path / "options.json"
    options.write_text(json.dumps({**CSV_OPTIONS, "currency": ""}))
    saved = system.run("statements", "sources", "table", "--options", str(options), check=2)
    assert "give a currency" in saved.stderr


def test_a_trial_shows_a_mapping_before_anything_is_stored(system: System, tmp_path: Path) -> None:
    path, options = tmp_path / "table.csv", tmp_path / "options.json"
    path.write_text("Date,Amount,Text,Balance\n2026-01-02,1.00,a,11.00\n2026-01-03,2.00,b,13.00\n")
    columns = {**CSV_OPTIONS["columns"], "balance": "Balance"}
    for name, swapped, code in (("right", False, 0), ("wrong", True, 2)):
        options.write_text(json.dumps({**CSV_OPTIONS, "columns": columns, "is_swapped": swapped}))
        system.run("statements", "sources", name, "--options", str(options), check=0)
        told = system.run("statements", "import", str(path), "--source", name, "--trial", check=code)
        assert ("proven" in told.stdout) is not swapped
        assert system.run("statements", "list", "--source", name, check=0).stdout == ""
    assert "wrong  version 1  csv" in system.run("statements", "sources", check=0).stdout
