"""`breaks` on the command line: list, work on one, and repair, as the pages and the API do."""

import re

import pytest

from app.arguments import parse
from app.commands.breaks import run
from tests.api.test_breaks import found, worker
from tests.api.world import World


@pytest.fixture
def typed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world over which a person types commands."""
    monkeypatch.setenv("DATABASE_URL", world.settings.database_url)
    monkeypatch.setenv("HOLDFAST_OWNER_DATABASE_URL", world.settings.owner_database_url)
    monkeypatch.setenv("REDIS_URL", world.settings.redis_url)
    return world


def test_a_break_is_listed_worked_on_and_repaired(typed: World, capsys: pytest.CaptureFixture[str]) -> None:
    break_id = found(typed)["break_id"]

    def answer(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert run(parse("breaks", arguments)) == code
        said = capsys.readouterr()
        return said.out + said.err

    listed = answer("list")
    assert listed.startswith(f"{break_id}  open  inside  cache_balance  alice  12.50 EUR  nobody  -  due ")
    assert "No break is listed." in answer("list", "--overdue")
    assert "alice  EUR  1  0  0  0  0  1  12.50 EUR" in answer("ageing")
    assert "full" in answer("runs", "--limit", "1")
    assert "takes" not in answer("change", break_id, "--comment", "Nobody posted.")
    assert "with a reason_code" in answer("change", break_id, "--state", "resolved", code=2)
    assert "Name what is to change" in answer("change", break_id, code=2)
    assert "There is no break 99." in answer("show", "99", code=2)

    preview = answer("repair", break_id)
    assert "now: balance 412.50 EUR, held 0.00 EUR, floor 0.00 EUR, available 412.50 EUR" in preview
    assert "then: balance 400.00 EUR" in preview
    token = re.search(r"--token (\w+)", preview)
    assert token is not None
    assert "Look first" in answer("repair", break_id, "--reason", "A drill.", code=2)
    outdated = answer("repair", break_id, "--reason", "A drill.", "--token", "x", code=1)
    assert "has changed since it was shown" in outdated
    assert "waits for the maintenance worker" in answer("repair", break_id, "--reason", "A drill.", "--token", token[1])
    assert worker(typed).run_once() == 1
    shown = answer("show", break_id)
    assert f"{break_id}  resolved  inside  cache_balance" in shown
    for said in ("ledger 400.00 EUR, other 412.50 EUR", "evidence: account alice", "Nobody posted.", "repair_asked"):
        assert said in shown
    assert answer("list") == "No break is open.\n"
