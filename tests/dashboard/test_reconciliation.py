"""The pages about reconciliation: runs, breaks with their history, and repairs, for each role."""

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, event

from app.domain.found_breaks import BreakSource, EvidenceKind, EvidenceLink, FoundBreak
from app.domain.users import Role
from app.ledger.break_records import open_break
from app.ledger.engine import owner_engine
from app.wiring.workers import build_reconciler
from tests.api.test_breaks import drift, worker
from tests.dashboard.world import Browser, World, rows_of, text_of


def work(world: World) -> int:
    """The maintenance worker does what was asked for; how much that was."""
    return worker(world).run_once()


def found(world: World) -> str:
    """Alice has 12.50 more in the cache, and a run has found it; the path of the break."""
    world.funded("alice", 40_000)
    build_reconciler(world.settings).run(full=True)
    drift(world)
    build_reconciler(world.settings).run(full=True)
    return "/reconciliation/breaks/1"


def ask(browser: Browser, mode: str) -> int:
    return browser.send("/reconciliation", "/reconciliation/runs", mode=mode).status_code


def test_a_run_is_asked_for_shown_while_it_waits_and_listed_when_it_is_done(world: World) -> None:
    world.funded("alice")
    controller = world.signed_in(Role.CONTROLLER)
    assert "Nothing was compared yet" in controller.page("/reconciliation")
    assert ask(controller, "full") == 303
    assert "A run over all entries waits for the maintenance worker" in text_of(controller.page("/reconciliation"))
    work(world)
    page = controller.page("/reconciliation")
    assert "No break is open" in page
    [_, row] = rows_of(page, 'id="runs"')
    assert row[1] == "all entries, asked for by a-controller"
    assert row[7] == "no break"
    run = text_of(controller.page("/reconciliation/runs/1"))
    assert "Run 1: no break" in run
    assert "Transactions 1" in run


@contextmanager
def at_statement(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Do something before the statement of this number that anything within the context sends to Postgres."""
    numbers = itertools.count(1)

    def counted(*_: object) -> None:
        if next(numbers) == number:
            act()

    event.listen(Engine, "before_cursor_execute", counted)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", counted)


def test_a_run_that_ends_while_the_page_is_read_is_told_as_under_way_or_as_ended(world: World) -> None:
    controller = world.signed_in(Role.CONTROLLER)
    for number in range(1, 100):
        ask(controller, "incremental")
        with at_statement(number, partial(work, world)):
            page = controller.page("/reconciliation")
        if work(world):
            break
        is_told = f">Run {number}</a> over new entries, asked for by a-controller, ended" in page
        assert is_told or 'hx-get="/reconciliation/under-way"' in page, number
    assert 5 < number < 99


@pytest.mark.parametrize(
    ("role", "incremental", "full"),
    [(Role.VIEWER, 403, 403), (Role.ACCOUNTANT, 303, 403), (Role.CONTROLLER, 303, 303)],
)
def test_who_may_ask_for_a_run(world: World, role: Role, incremental: int, full: int) -> None:
    browser = world.signed_in(role)
    assert (ask(browser, "incremental"), ask(browser, "full")) == (incremental, full)


def test_a_run_under_way_shows_how_far_it_is_and_one_that_broke_off_does_not(world: World) -> None:
    world.sql(
        """INSERT INTO reconciliation_run (mode, expected, checked, heard_at, asked_by)
        VALUES ('full', '{"transactions": 200}', '{"transactions": 124}', now(), 'user:mira')"""
    )
    browser = world.signed_in()
    page = text_of(browser.page("/reconciliation"))
    assert "Run 1 is checking all entries, 62 %" in page
    assert "124 of 200 transactions recomputed" in page
    assert "62 %" in browser.page("/reconciliation/under-way")
    world.clock.ahead = timedelta(minutes=40)
    page = text_of(browser.page("/reconciliation"))
    assert "is checking" not in page
    assert "broken off" in page


def test_runs_without_a_break_are_folded(world: World) -> None:
    world.funded("alice")
    for _ in range(6):
        build_reconciler(world.settings).run(full=False)
    browser = world.signed_in()
    runs = [row[0] for row in rows_of(browser.page("/reconciliation"), 'id="runs"')[1:]]
    assert runs == ["6", "1 to 5"]
    printed = [row[0] for row in rows_of(browser.page("/reconciliation?view=print"), 'id="runs"')[1:]]
    assert printed == ["6", "5", "4", "3", "2", "1"]


def test_runs_that_see_known_breaks_only_are_folded_too(world: World) -> None:
    found(world)
    for _ in range(6):
        build_reconciler(world.settings).run(full=False)
    runs = [[row[0], row[-1]] for row in rows_of(world.signed_in().page("/reconciliation"), 'id="runs"')[1:]]
    assert runs[:2] == [["8", "1 break"], ["3 to 7", "1 break, none new"]]


def test_a_break_says_what_differs_what_it_means_and_what_proves_it(world: World) -> None:
    path = found(world)
    browser = world.signed_in()
    listed = rows_of(browser.page("/reconciliation"), 'id="inside"')[1]
    assert listed[:6] == ["1 cache balance", "alice", "400.00", "412.50", "+12.50", "EUR"]
    assert listed[8:] == ["nobody", "", "open"]
    page = text_of(browser.page(path))
    assert "The cache has 12.50 EUR more than the ledger on alice" in page
    assert "Cache 412.50 EUR at entry 1 Difference +12.50 EUR cache less ledger Ledger 400.00 EUR at entry 1" in page
    assert "The ledger is right, as far as open breaks tell; only the cache differs." in page
    assert "Found by run 2" in page
    assert "Not seen by run 1" in page
    assert "No change and no posting is on record about this account between run 1 and the finding" in page
    assert "“found by run 2” by the reconciler" in page
    ageing = rows_of(browser.page("/reconciliation"), 'id="ageing"')[1]
    assert ageing == ["alice", "1", "", "", "", "1", "", "12.50", "EUR"]


def test_an_accountant_works_on_a_break_and_everything_is_in_its_history(world: World) -> None:
    path = found(world)
    world.user("jo", Role.ACCOUNTANT)
    browser = world.signed_in(Role.ACCOUNTANT)
    given = {"owner": "jo", "state": "investigating", "comment": "No posting touched it.", "due_at": "2030-01-02 18:00"}
    assert browser.send(path, **given).status_code == 303
    page = text_of(browser.page(path))
    assert "investigating by jo, due 2030-01-02 18:00 UTC" in page
    assert "investigating Given to jo. Due 2030-01-02 18:00 UTC. “No posting touched it.” by a-accountant" in page
    settled = {"owner": "jo", "state": "resolved", "comment": "Set back by hand."}
    refused = browser.send(path, **settled)
    assert (refused.status_code, "reason_code" in refused.text) == (422, True)
    assert 'value="Set back by hand."' in refused.text, "what was typed stays"
    assert browser.send(path, reason_code="cache_written_by_hand", **settled).status_code == 303
    page = text_of(browser.page(path))
    assert "reason cache written by hand" in page
    assert "resolved Reason: cache written by hand. “Set back by hand.”" in page
    assert browser.send(path, comment="See ticket 9.").status_code == 303
    assert "“See ticket 9.”" in text_of(browser.page(path))


def test_a_form_that_changes_nothing_or_cannot_be_read_says_so(world: World) -> None:
    path = found(world)
    browser = world.signed_in(Role.ACCOUNTANT)
    assert browser.send(path, state="open", owner="").status_code == 422
    assert browser.send(path, due_at="soon").status_code == 422
    assert browser.send(path, state="accepted", reason_code="other", comment="So be it.").status_code == 403


def test_a_viewer_reads_and_changes_nothing(world: World) -> None:
    path = found(world)
    viewer = world.signed_in(Role.VIEWER)
    assert "to work on one takes an accountant" in viewer.page(path)
    assert viewer.send(path, comment="x").status_code == 403
    assert "To repair the cache takes a controller" in viewer.page(f"{path}/repair")
    assert viewer.send(f"{path}/repair", reason="x", seen="yes", token="x").status_code == 403


def test_a_repair_is_previewed_confirmed_and_recorded(world: World) -> None:
    path = found(world)
    browser = world.signed_in(Role.CONTROLLER)
    assert "Show what a repair would change" in browser.page(path)
    page = browser.page(f"{path}/repair")
    rows = {row[0]: row[1:4] for row in rows_of(page, 'id="change"')[1:]}
    assert rows == {
        "Balance": ["412.50", "400.00", "−12.50"],
        "Held": ["0.00", "0.00", "0.00"],
        "Floor": ["0.00", "0.00", "0.00"],
        "Available": ["412.50", "400.00", "−12.50"],
    }
    token = re.search(r'name="token" value="(\w+)"', page)
    assert token is not None
    confirmed = {"token": token[1], "reason": "Written by hand in a drill.", "seen": "yes"}
    for missing in ("reason", "seen"):
        less = {name: value for name, value in confirmed.items() if name != missing}
        assert browser.send(f"{path}/repair", **less).status_code == 422
    outdated = browser.send(f"{path}/repair", **(confirmed | {"token": "x"}))
    assert (outdated.status_code, "has changed since it was shown" in outdated.text) == (412, True)
    assert browser.send(f"{path}/repair", **confirmed).status_code == 303
    assert "The repair waits for the maintenance worker" in text_of(browser.page(path))
    work(world)
    page = text_of(browser.page(path))
    assert "Repaired. The account was rebuilt from the ledger and found right." in page
    assert "Repair of the cache asked for. “Written by hand in a drill.” by a-controller" in page
    assert "resolved" in page
    assert world.balance("alice")["balance_minor"] == 40_000
    assert "The last break, 1, was resolved" in text_of(browser.page("/reconciliation"))
    world.assert_proven()


def test_a_break_of_the_ledger_is_explained_and_stands_in_the_way_of_repairs(world: World) -> None:
    path = found(world)
    world.sql(
        "SET session_replication_role = replica;"
        " UPDATE account_balance SET balance_minor = balance_minor + 500 WHERE account_id = 'clearing:bank'"
    )
    build_reconciler(world.settings).run(full=True)
    browser = world.signed_in(Role.CONTROLLER)
    assert "Ledger not right" in browser.page("/reconciliation")
    kinds = {row[0].partition(" ")[2] for row in rows_of(browser.page("/reconciliation"), 'id="inside"')[1:]}
    assert kinds == {"cache balance", "balance not sum", "trial balance"}
    page = browser.page(f"{path}/repair")
    assert "The ledger itself has an open break" in page
    assert 'name="token"' not in page
    [(break_id,)] = world.sql("SELECT break_id FROM reconciliation_break WHERE kind = 'balance_not_sum'")
    page = text_of(browser.page(f"/reconciliation/breaks/{break_id}"))
    assert "The ledger’s balance of clearing:bank is 5.00 EUR more than its entries add up to" in page
    assert "Nothing is rebuilt from it until this is settled" in page
    assert "Show what a repair would change" not in page


def test_breaks_are_filtered_and_exported(world: World) -> None:
    found(world)
    line = EvidenceLink(EvidenceKind.STATEMENT_LINE, "17")
    missing = FoundBreak(
        BreakSource.OUTSIDE, "not_in_ledger", "bank/17", {}, "alice", other_minor=-1_250, evidence=(line,)
    )
    with owner_engine(world.settings.owner_database_url).begin() as connection:
        open_break(connection.exec_driver_sql, missing, "matching", "no entry fits")
    browser = world.signed_in()
    for query, count in (("", 2), ("?source=outside", 1), ("?state=resolved", 0), ("?kind=cache_balance", 1),
                         ("?owner=-", 2), ("?overdue=yes", 0), ("?account_id=bob", 0)):  # fmt: skip
        assert f"{count} break" in text_of(browser.page(f"/reconciliation/breaks{query}")), query
    outside = rows_of(browser.page("/reconciliation"), 'id="outside"')[1]
    assert outside[:6] == ["2 not in ledger", "alice", "", "−12.50", "−12.50", "EUR"]
    page = text_of(browser.page("/reconciliation/breaks/2"))
    assert "Not in ledger: alice" in page
    assert "Statement −12.50 EUR" in page
    overview = browser.page("/")
    assert "Open breaks 2" in text_of(overview)
    listed = [row[0] for row in rows_of(overview, "Open breaks, next due first")[1:]]
    assert listed == ["1 cache balance", "2 not in ledger"], "the figure and the list tell of the same breaks"
    exported = browser.get("/reconciliation/breaks?format=csv")
    assert exported.mimetype == "text/csv"
    assert '"bank/17","alice","default","EUR","",-12.50,-12.50,"open"' in exported.text


@pytest.mark.parametrize(
    "path", ["/reconciliation/breaks/9", "/reconciliation/runs/9", "/reconciliation/breaks/9/repair"]
)
def test_what_is_not_there_is_not_found(shared_world: World, path: str) -> None:
    assert shared_world.signed_in().get(f"/reconciliation/{path}").status_code == 404


def test_the_page_is_loaded_again_when_the_run_that_was_asked_for_has_ended(world: World) -> None:
    path, polls = found(world), {"HX-Request": "true"}
    browser = world.signed_in(Role.CONTROLLER)
    ask(browser, "full")
    assert "Look again" in browser.page("/reconciliation").partition("<noscript>")[2]
    assert "HX-Trigger" not in browser.get("/reconciliation/under-way", headers=polls).headers
    assert "HX-Trigger" in browser.get(f"{path}/repairs", headers=polls).headers
    work(world)
    assert browser.get("/reconciliation/under-way", headers=polls).headers["HX-Trigger"] == "over"
    page = text_of(browser.page("/reconciliation"))
    assert "Run 3 over all entries, asked for by a-controller, ended" in page
    assert "and found 1 break." in page
    world.clock.ahead = timedelta(minutes=11)
    assert "and found 1 break." not in text_of(browser.page("/reconciliation"))


def test_only_a_run_that_looked_at_the_account_is_named_as_one_that_saw_no_break(world: World) -> None:
    world.funded("alice", 40_000)
    build_reconciler(world.settings).run(full=False)
    drift(world)
    build_reconciler(world.settings).run(full=False)
    build_reconciler(world.settings).run(full=True)
    browser = world.signed_in()
    page = text_of(browser.page("/reconciliation/breaks/1"))
    assert "Not seen by" not in page
    assert "Since when not known" in page
    world.sql("UPDATE reconciliation_break SET state = 'resolved'")
    build_reconciler(world.settings).run(full=True)
    [(break_id,)] = world.sql("SELECT max(break_id) FROM reconciliation_break WHERE kind = 'cache_balance'")
    assert break_id > 1
    assert "Not seen by" not in text_of(browser.page(f"/reconciliation/breaks/{break_id}")), "run 3 has seen it"


def test_changes_before_a_break_was_found_are_counted_without_reads_and_linked(world: World) -> None:
    world.funded("alice", 40_000)
    build_reconciler(world.settings).run(full=True)
    browser = world.signed_in()
    browser.page("/accounts/alice")
    world.deposit("alice", 500)
    world.drained()
    drift(world)
    build_reconciler(world.settings).run(full=True)
    page = browser.page("/reconciliation/breaks/1")
    assert "1 change or posting about this account between run 1 and the finding is in the audit" in text_of(page)
    [address] = re.findall(r'href="(/audit[^"]+)"[^>]*>1 change or posting', page)
    assert browser.get(address.replace("&amp;", "&")).status_code == 200


def test_a_settled_break_does_not_speak_of_a_risk_that_is_over(world: World) -> None:
    path = found(world)
    browser = world.signed_in()
    assert "A payment might be acknowledged or refused" in text_of(browser.page(path))
    world.sql("UPDATE reconciliation_break SET state = 'resolved'")
    page = text_of(browser.page(path))
    assert "A payment might be acknowledged or refused" not in page
    assert "The difference is gone" in page


def test_a_run_that_compares_nothing_does_not_renew_the_proof(world: World) -> None:
    browser = world.signed_in()
    world.funded("wallet:ada")
    build_reconciler(world.settings).run(full=False)
    page = text_of(browser.page("/"))
    assert "What is new is right" in page
    assert "The books are right" not in page
    assert "New entries right at" in browser.page("/reconciliation")
    full = build_reconciler(world.settings).run(full=True)
    last = build_reconciler(world.settings).run(full=False)
    world.sql("UPDATE reconciliation_run SET finished_at = finished_at - interval '1 h' WHERE run_id = %s", full.run_id)
    page = text_of(browser.page("/"))
    assert re.search(rf"The books are right, proved [-\d:. ]+ UTC by run {full.run_id}\.", page)
    compared = full.checked["cached_accounts"]
    assert f"Run {full.run_id} compared all {compared} cached account" in page
    assert f"by run {last.run_id}; what is changed past the program" in page
    assert f"The last run over all entries, {full.run_id}, ended" in text_of(browser.page("/reconciliation"))
