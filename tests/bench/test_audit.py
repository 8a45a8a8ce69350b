"""The auditor finds each way in which a ledger can be wrong, and a figure with a wrong ledger is not told."""

import pytest

from bench.audit import Auditor, LedgerReads
from bench.figures import Figures, Round
from bench.load import workload
from bench.load.requests import external_id, parsed_external_id
from bench.load.workload import Movement, Workload, account_id
from bench.report.markdown import table
from bench.report.write import document
from bench.targets import verdicts

RUN = "run0001"
A, B = account_id(0), account_id(1)
PAYS = Workload("pays", 2, (Movement(0, 1, 10), Movement(0, 1, 5)))


class Ledger:
    """A ledger in memory, right until a test spoils it."""

    def __init__(self) -> None:
        self.ids = [external_id(RUN, 0, 0), external_id(RUN, 0, 1)]
        self.balances = {A: 100, B: 0}
        self.sums = {A: 85, B: 15}
        self.answers = {A: (85, 0), B: (15, 0)}
        self.auditor = Auditor(
            LedgerReads(lambda _: self.ids, lambda: self.balances, lambda: self.sums, lambda _: self.answers)
        )
        self.auditor.open()
        self.balances = {A: 85, B: 15}

    def audit(self) -> list[str]:
        return self.auditor.audit(RUN, PAYS, {(0, 0), (0, 1)})


def test_a_right_ledger_has_no_problem() -> None:
    assert Ledger().audit() == []


def test_a_missing_acknowledged_payment_is_found() -> None:
    ledger = Ledger()
    ledger.ids.pop()
    assert "1 acknowledged payments are not in the ledger" in ledger.audit()[0]


def test_a_payment_posted_twice_is_found() -> None:
    ledger = Ledger()
    ledger.ids.append(ledger.ids[0])
    assert "1 payments were posted more than once" in ledger.audit()[0]


def test_a_lost_update_is_found() -> None:
    ledger = Ledger()
    ledger.balances[A] = ledger.sums[A] = 95
    ledger.answers[A] = (95, 0)
    problems = ledger.audit()
    assert "1 balances are not what the posted payments make them: 10 minor units off in sum, +10" in problems[0]


def test_a_balance_that_differs_from_its_entries_is_found() -> None:
    ledger = Ledger()
    ledger.sums[B] = 14
    assert "1 balances differ from the sum of their entries" in ledger.audit()[0]


def test_an_overdraft_is_found() -> None:
    ledger = Ledger()
    ledger.balances[A] = ledger.sums[A] = -1
    assert any("1 accounts are overdrawn" in problem for problem in ledger.audit())


def test_a_cache_that_differs_from_the_ledger_is_found() -> None:
    ledger = Ledger()
    ledger.answers[B] = (16, 0)
    assert "1 cached balances differ from the ledger" in ledger.audit()[0]


def test_money_that_stays_held_is_found() -> None:
    ledger = Ledger()
    ledger.answers[A] = (85, 10)
    assert "1 accounts still hold money" in ledger.audit()[0]


def invalid() -> Figures:
    figures = Figures()
    figures.add("uniform", "Holdfast", 16, Round(8_765.0))
    figures.add("uniform", "Holdfast", 16, Round(8_764.0, problems=["two payments were lost"]))
    figures.add("uniform", "(a) SELECT … FOR UPDATE", 16, Round(1_234.0))
    return figures


def test_one_wrong_round_voids_the_figure_everywhere() -> None:
    figures = invalid()
    text = table(figures, "uniform")
    assert "INVALID" in text
    assert "two payments were lost" in text
    assert "8,76" not in text
    assert "876" not in str(document(figures, {}, {})["figures"][0])
    assert all(one.measured is None and one.reached is None for one in verdicts(figures))


@pytest.mark.parametrize("draw", [workload.uniform, workload.zipf, workload.hot_source, workload.hot_merchant])
def test_movements_can_be_recomputed_from_the_external_id(draw: object) -> None:
    assert callable(draw)
    one, again = draw(50), draw(50)
    for number in (0, 1, 19_999, 20_000, 123_456):
        assert parsed_external_id(external_id("run-x", 3, number)) == (3, number)
        assert one.movement(3, number) == again.movement(3, number)
        assert one.movement(3, number).source != one.movement(3, number).destination


def test_zipf_favours_the_first_accounts() -> None:
    drawn = workload.zipf(100)
    sources = [movement.source for movement in drawn.movements]
    assert 1.5 < sources.count(0) / sources.count(1) < 2.5
