"""`status`: what runs, told to people and to scripts."""

import json
from pathlib import Path

import pytest

from app.embedded.attach import exclusive
from app.embedded.servers import prepare_directory
from tests.system.harness import System


def status(system: System, *arguments: str, code: int) -> str:
    return system.run("status", *arguments, check=code).stdout


def test_a_running_system_tells_what_runs_and_whether_it_is_ready(system: System) -> None:
    told = json.loads(status(system, "--json", code=0))
    assert (told["state"], told["pid"]) == ("ready", system.process.pid if system.process else None)
    assert told["api"] == f"http://127.0.0.1:{system.port}"
    assert told["started_at"].endswith("Z")
    assert told["backlog"] >= 0
    assert {name for name, check in told["checks"].items() if check["ok"]} == {
        "cache",
        "cache_identity",
        "cache_memory",
        "clocks",
        "ledger",
        "migrations",
        "posting",
        "queue",
        "webhooks",
        "workers",
    }
    assert set(told["processes"]) == {
        "cache",
        "Postgres",
        "drain-1",
        "drain-2",
        "maintain",
        "deliver",
        "schedule",
        "api",
    }
    assert told["ended"] == []
    text = status(system, code=0)
    assert text.startswith("Holdfast is ready, since 20")
    assert f"api {told['processes']['api']}" in text


def test_where_nothing_runs_the_exit_code_is_3_and_nothing_is_made(tmp_path: Path) -> None:
    nothing = System(tmp_path / "nothing")
    assert status(nothing, code=3) == f"Nothing runs on {tmp_path / 'nothing'}.\n"
    assert json.loads(status(nothing, "--json", code=3))["state"] == "not_running"
    assert list(tmp_path.iterdir()) == []


def test_a_system_that_is_starting_is_not_ready(tmp_path: Path) -> None:
    with exclusive(prepare_directory(tmp_path)):
        assert json.loads(status(System(tmp_path), "--json", code=1))["state"] == "starting"


@pytest.mark.parametrize("left", ["run.json", "lock"])
def test_what_a_dead_system_left_is_not_believed(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text("{}")
    assert status(System(tmp_path), code=3).startswith("Nothing runs on")
