"""What was asked of the reconciliation: done in turn, begun again after a crash, and due runs told from asked ones."""

import pytest

from app.domain.errors import LedgerUnavailable
from app.domain.proof_requests import RequestMode, RequestOutcome
from app.ledger.connections import LedgerConnection
from app.ledger.proof_records import LedgerRunProgress
from app.ledger.proof_requests import LedgerProofRequests, over
from app.services.proofs.chain_verification import AT_ONCE, ChainVerifier, Leisure
from app.services.proofs.progress import RunProgress, ToldPace
from app.services.proofs.reconciliation import Reconciler
from app.services.proofs.repair import Repair
from app.services.proofs.requested_proofs import RequestedProofs
from tests.services.faults import Overridden
from tests.world import World


@pytest.fixture
def requests(settled: World) -> LedgerProofRequests:
    return LedgerProofRequests(over(LedgerConnection(lambda: settled.connect(owner=False))))


def worker(world: World, requests: LedgerProofRequests, reconciler: object = None) -> RequestedProofs:
    repair = Repair(world.reconciler, world.cache, world.new_ledger_reconciliation())
    return RequestedProofs(requests, reconciler or world.reconciler, repair)  # type: ignore[arg-type]


def test_requests_are_done_in_the_order_in_which_they_came(settled: World, requests: LedgerProofRequests) -> None:
    first = requests.ask(RequestMode.FULL, "user:mira")
    second = requests.ask(RequestMode.INCREMENTAL, "user:jo")
    assert [one.request_id for one in requests.unfinished()] == [first.request_id, second.request_id]
    assert worker(settled, requests).run_once() == 2
    assert requests.unfinished() == []
    runs = settled.rows("SELECT mode, asked_by FROM reconciliation_run ORDER BY run_id DESC LIMIT 2")
    assert runs == [("incremental", "user:jo"), ("full", "user:mira")]
    done = requests.get(first.request_id)
    assert done is not None
    assert (done.outcome, done.state) == (RequestOutcome.DONE, "done")


class Killed(BaseException):
    """As a process ends that is killed."""


def test_a_request_that_broke_off_is_begun_again(settled: World, requests: LedgerProofRequests) -> None:
    def kill(**_: object) -> None:
        raise Killed

    asked = requests.ask(RequestMode.FULL, "user:mira")
    with pytest.raises(Killed):
        worker(settled, requests, Overridden(settled.reconciler, run=kill)).run_once()
    begun = requests.get(asked.request_id)
    assert begun is not None
    assert begun.state == "under_way"
    assert worker(settled, requests).run_once() == 1
    assert requests.unfinished() == []


@pytest.mark.parametrize(
    ("error", "told"), [(LedgerUnavailable("gone"), "gone"), (ValueError("odd"), "the log of the maintenance worker")]
)
def test_a_request_that_fails_says_so_and_holds_up_no_other(
    settled: World, requests: LedgerProofRequests, error: Exception, told: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    asked = requests.ask(RequestMode.FULL, "user:mira")
    worker(settled, requests, Overridden(settled.reconciler, run=fail)).run_once()
    failed = requests.get(asked.request_id)
    assert failed is not None
    assert (failed.outcome, told in failed.detail) == (RequestOutcome.FAILED, True)


def test_a_full_run_is_due_once_a_day_and_only_where_there_is_something(
    settled: World, requests: LedgerProofRequests
) -> None:
    proofs = worker(settled, requests)
    assert not proofs.is_full_due(24), "one has just ended"
    settled.tamper(
        "UPDATE reconciliation_run SET started_at = now() - interval '2 days', finished_at = now() - interval '2 days'"
    )
    assert proofs.is_full_due(24)
    assert not proofs.is_full_due(0)
    settled.tamper("DELETE FROM ledger_transaction")
    assert not proofs.is_full_due(24)


def test_a_long_run_tells_how_far_it_is(settled: World) -> None:
    told: list[tuple[int, dict[str, int]]] = []
    clock = settled.clock
    progress = RunProgress(lambda run_id, checked: told.append((run_id, dict(checked))), clock)
    pace = ToldPace(Leisure(clock, lambda _: clock.sleep(2.0)), progress)
    verifier = ChainVerifier(settled.new_ledger_reconciliation(), clock, pace)
    ledger = settled.new_ledger_reconciliation()
    report = Reconciler(settled.new_cache(), ledger, verifier, clock, pace, progress).run(full=True)
    assert {run_id for run_id, _ in told} == {report.run_id}
    assert told[-1][1]["transactions"] == 5
    [(expected,)] = settled.rows("SELECT expected FROM reconciliation_run ORDER BY run_id DESC LIMIT 1")
    assert expected == {"transactions": 5}


def test_a_run_under_way_is_told_and_a_finished_one_is_left_alone(settled: World) -> None:
    note = LedgerRunProgress(settled.settings.database_url).note
    [(run_id,)] = settled.rows("INSERT INTO reconciliation_run (mode) VALUES ('full') RETURNING run_id")
    note(run_id, {"transactions": 3})
    rows = "SELECT checked, heard_at IS NOT NULL FROM reconciliation_run WHERE run_id = %s"
    assert settled.rows(rows, run_id) == [({"transactions": 3}, True)]
    settled.rows("UPDATE reconciliation_run SET finished_at = now() WHERE run_id = %s RETURNING 1", run_id)
    note(run_id, {"transactions": 4})
    assert settled.rows(rows, run_id) == [({"transactions": 3}, True)]


def test_steps_are_told_about_every_second_and_a_failure_to_tell_stops_nothing(settled: World) -> None:
    clock, told = settled.clock, []

    def note(run_id: int, checked: object) -> None:
        told.append((run_id, checked))
        raise LedgerUnavailable("gone")

    progress = RunProgress(note, clock)
    pace = ToldPace(AT_ONCE, progress)
    report = settled.reconcile()
    progress.begin(7, [report, report])
    for _ in pace.steps(range(5)):
        clock.sleep(0.4)
    progress.end()
    list(pace.steps(range(5)))
    assert [run_id for run_id, _ in told] == [7]
    assert told[0][1] == {name: 2 * number for name, number in report.checked.items()}
