"""The harness on real servers, a second a run: a right ledger gives figures, a broken one does not."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.arena import Arena, Options
from bench.drive import at_rate, saturate
from bench.figures import Figures
from bench.load import workload, wrk
from bench.load.workload import account_id
from bench.processes import part_of
from bench.report.environment import afterwards, environment
from bench.report.write import write_report
from bench.runner import plain, prepared
from bench.scenarios import cost, open_loop, script

ACCOUNTS = 20
OPTIONS = Options(seconds=1.0, rounds=1, connections=(8,), accounts=ACCOUNTS, payments=1_600)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with ExitStack() as stack:
        yield prepared(stack, OPTIONS, tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("own_generator", [True, False])
def test_holdfast_keeps_its_ledger_right_and_has_a_figure(arena: Arena, own_generator: bool) -> None:
    if not own_generator and not wrk.is_available():
        pytest.skip("wrk is not installed")
    drawn, run = workload.zipf(ACCOUNTS), arena.new_run()
    source = arena.holdfast.payments(run, drawn)
    outcome = saturate(arena.system.address, source, connections=8, seconds=1, own_generator=own_generator)
    arena.holdfast.finish(run, drawn, outcome, 1.0)
    assert outcome.round.problems == []
    assert outcome.round.rate > 0
    assert outcome.statuses[200] + outcome.statuses[201] == len(outcome.acknowledged)
    counted = round(outcome.round.rate * outcome.seconds)
    under_way = 8  # one a connection when the time was over: acknowledged, and not counted in the rate
    assert 0 <= len(outcome.acknowledged) - counted <= under_way
    assert outcome.round.histogram.percentile(50) is not None


@pytest.mark.parametrize("name", ["for_update", "serializable", "optimistic"])
def test_honest_baselines_keep_their_ledgers_right(arena: Arena, name: str) -> None:
    outcome = arena.turn(arena.rival(name), workload.hot_source(ACCOUNTS), 8)
    assert outcome.round.problems == []
    assert outcome.round.rate > 0


def test_authorizations_are_captured_beside_a_row_lock_that_holds(arena: Arena) -> None:
    for contestant in (arena.holdfast, arena.rival("for_update")):
        outcome = arena.turn(contestant, workload.uniform(ACCOUNTS), 8, "authorizations")
        assert outcome.round.problems == []
        assert outcome.round.rate > 0
        assert outcome.statuses.keys() <= {200, 201}
    assert arena.server.database.execute("SELECT sum(held_minor) FROM account").fetchone() == (0,)
    assert arena.server.database.execute("SELECT count(*) > 0 AND bool_and(captured) FROM hold").fetchone() == (True,)


def test_a_payment_has_its_cost_told_by_process(arena: Arena) -> None:
    cost.run(arena)
    figure = arena.figures.find("cost", "Holdfast")
    assert figure is not None
    assert figure.is_valid, figure.problems
    parts = figure.rounds[0].extra
    assert {"api_us", "drain_us", "cache_us", "postgres_us"} <= parts.keys()
    assert sum(parts.values()) == pytest.approx(figure.rounds[0].rate)
    assert parts["api_us"] > 0
    parsing = arena.figures.rate("cost", "(e) parsing only")
    assert parsing is not None
    assert parsing > 0


def test_the_race_is_caught_losing_money(arena: Arena) -> None:
    arena.figures.add("race", "(d)", 8, arena.turn(arena.rival("race"), workload.hot_source(ACCOUNTS), 8).round)
    figure = arena.figures.find("race", "(d)")
    assert figure is not None
    assert any("created or lost" in problem for problem in figure.problems)
    assert figure.rate is None


def test_a_baseline_overdraws_nothing_when_funds_are_short(arena: Arena) -> None:
    rival, drawn, run = arena.rival("for_update"), workload.hot_source(ACCOUNTS), arena.new_run()
    rival.prepare(drawn)
    ledger = rival.ledger
    assert ledger is not None
    ledger.use()
    for column, table in (("balance_minor", "account"), ("amount_minor", "entry")):
        arena.server.database.execute(f"UPDATE {table} SET {column} = 50 WHERE account_id = %s", (account_id(0),))
    ledger.auditor.open()
    outcome = saturate(rival.address, rival.payments(run, drawn), connections=8, seconds=1)
    rival.finish(run, drawn, outcome, 1.0)
    assert outcome.statuses[422] > 0
    assert outcome.round.problems == []


def test_open_loop_says_when_payments_were_posted(arena: Arena) -> None:
    listener = open_loop.NoticeListener(arena.system)
    drawn, run = workload.uniform(ACCOUNTS), arena.new_run()
    outcome = at_rate(arena.system.address, arena.holdfast.payments(run, drawn), connections=16, seconds=1.0, rate=50)
    arena.holdfast.finish(run, drawn, outcome, 1.0)
    open_loop.add_posting_times(arena.system, run, outcome, listener.stop())
    assert outcome.round.problems == []
    assert len(outcome.acknowledged) == 50
    assert outcome.round.extra["posted_ms_p50"] >= 0


def test_the_reserve_script_is_measured_alone(arena: Arena) -> None:
    arena.figures, kept = Figures(), arena.figures
    script.run(arena)
    single, noop = arena.figures.rate("script", script.SINGLE), arena.figures.rate("script", script.NOOP)
    arena.figures = kept
    assert single is not None
    assert noop is not None
    assert min(single, noop) > 0


def test_the_report_shows_everything(arena: Arena, tmp_path: Path) -> None:
    arena.in_turn("uniform", [arena.holdfast, arena.rival("parse_only")], workload.uniform(ACCOUNTS), 8)
    arena.in_turn("hot_source", [arena.rival("race")], workload.hot_source(ACCOUNTS), 8)
    write_report(tmp_path, arena.figures, environment(arena.system, tmp_path) | afterwards(tmp_path), plain(OPTIONS))
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == len(list(tmp_path.glob("*.svg"))) >= 3
    assert "INVALID" in page
    assert "http-equiv" not in page
    assert "<script" not in page
    assert '"git_commit"' in (tmp_path / "report.json").read_text()
    assert "| **Holdfast** | 8 |" in (tmp_path / "report.md").read_text()


def test_a_tampered_ledger_voids_the_figure(arena: Arena) -> None:  # the last one: it spoils the ledger
    drawn, run = workload.uniform(ACCOUNTS), arena.new_run()
    source = arena.holdfast.payments(run, drawn)
    outcome = saturate(arena.system.address, source, connections=4, seconds=1)
    arena.system.quiesce()
    arena.system.database.execute("ALTER TABLE entry DISABLE TRIGGER USER")
    arena.system.database.execute(
        """UPDATE entry SET amount_minor = amount_minor - 1 WHERE (account_id, entry_number) =
        (SELECT account_id, entry_count FROM account_balance WHERE account_id = %s)""",
        (account_id(3),),
    )
    arena.holdfast.finish(run, drawn, outcome, 1.0)
    problems = " ".join(outcome.round.problems)
    assert "1 balances differ from the sum of their entries" in problems
    assert "reconciliation:" in problems


@pytest.mark.parametrize(
    ("command_line", "part"),
    [
        ("python -m workers.granian_server --interface rsgi workers.api:application --port 1", "api"),
        ("python -m granian --interface wsgi bench.baselines.wsgi:application", "baseline"),
        ("python -m workers.drain", "drain"),
        ("python -m workers.schedule", "other_workers"),
        ("wrk -t1 -c16", None),
    ],
)
def test_a_process_belongs_to_its_part(command_line: str, part: str | None) -> None:
    assert part_of(command_line) == part
