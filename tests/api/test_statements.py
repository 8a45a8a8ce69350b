"""Statements over the API: sources are saved, statements and lines are read."""

import io
from typing import Any

import pytest

from app.wiring.statements import build_imports
from tests.api.world import World, assert_problem
from tests.statements.reading import CSV_OPTIONS, mt940

SOURCE = {"name": "bank", "format": "mt940", "options": {}}


def imported(world: World, content: str) -> None:
    source = world.services.statements.source("bank")
    assert source is not None
    build_imports(world.settings).run(io.BytesIO(content.encode()), "january.sta", source, "tests")


def test_a_source_is_saved_once_for_each_content(world: World) -> None:
    first = world.post("/v1/statement-sources", SOURCE)
    assert (first.status_code, first.get_json()["version"]) == (201, 1)
    assert first.get_json()["created_by"].startswith("key:")
    again = world.post("/v1/statement-sources", SOURCE)
    assert (again.status_code, again.get_json()) == (200, first.get_json())
    changed = world.post("/v1/statement-sources", {**SOURCE, "options": {"encoding": "cp1252"}})
    assert (changed.status_code, changed.get_json()["version"]) == (201, 2)
    listed = world.get("/v1/statement-sources").get_json()["data"]
    assert [(one["name"], one["version"]) for one in listed] == [("bank", 2)]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pdf"},
        {"name": " bank"},
        {"options": {"surprise": 1}},
        {"format": "csv"},
        {"format": "csv", "options": {**CSV_OPTIONS, "currency": ""}},
    ],
)
def test_a_source_that_says_nothing_sensible_is_refused(shared_world: World, change: dict[str, Any]) -> None:
    response = shared_world.post("/v1/statement-sources", {**SOURCE, **change})
    problem = assert_problem(response, 400, "malformed_request")
    assert problem["field"] == ("name" if "name" in change else "format" if change == {"format": "pdf"} else "options")


def test_statements_and_their_lines_are_read_in_pages(world: World) -> None:
    world.post("/v1/statement-sources", SOURCE)
    imported(world, mt940(":61:251230C1,00NMSC", ":61:251230D3,50NTRFREF-1", closing="C251231EUR97,50"))
    imported(world, mt940(":61:260101C1,00NMSC", opening="C251231EUR97,50", page="2/1"))
    page = world.get("/v1/statements?limit=1").get_json()
    [first] = page["data"]
    assert (first["opening_minor"], first["lines_minor"], first["closing_minor"]) == (10_000, -250, 9_750)
    assert (first["proof"], first["first_on"], first["line_count"]) == ("proven", "2025-12-30", 2)
    [second] = world.get(f"/v1/statements?limit=2&after={page['next']}").get_json()["data"]
    assert (second["proof"], second["closing_minor"]) == ("not_provable", None)
    assert world.get(f"/v1/statements/{first['statement_id']}").get_json() == first
    lines = world.get(f"/v1/statements/{first['statement_id']}/lines?limit=1").get_json()
    assert lines["data"][0]["amount_minor"] == 100
    more = world.get(f"/v1/statements/{first['statement_id']}/lines?after={lines['next']}").get_json()
    assert [(line["amount_minor"], line["reference"]) for line in more["data"]] == [(-350, "REF-1")]
    assert more["next"] is None
    assert world.get("/v1/statements?source_name=other").get_json()["data"] == []


@pytest.mark.parametrize("statement_id", ["1", "x", "9" * 30, "-1"])
def test_a_statement_that_is_not_there_is_not_found(shared_world: World, statement_id: str) -> None:
    for path in ("", "/lines"):
        assert_problem(shared_world.get(f"/v1/statements/{statement_id}{path}"), 404, "not_found")
