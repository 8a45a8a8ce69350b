"""A proof at leisure rests between its steps, and finds what it would have found at once."""

import pytest

from app.domain.breaks import BreakKind
from app.services.proofs.chain_verification import LONGEST_REST_S, REST, ChainVerifier, Leisure
from app.services.proofs.reconciliation import Reconciler
from tests.services.tampering import TAMPERING, Tamper
from tests.world import StepClock, World


@pytest.mark.parametrize(
    ("step_s", "rest_s"),
    [
        (0.0, 0.0),
        (LONGEST_REST_S / REST / 2, LONGEST_REST_S / 2),
        (LONGEST_REST_S, LONGEST_REST_S),
        (60.0, LONGEST_REST_S),
    ],
)
def test_a_rest_follows_each_step_and_is_bounded(step_s: float, rest_s: float) -> None:
    clock, taken = StepClock(), []
    for step in Leisure(clock, clock.sleep).steps(range(3)):
        taken.append(step)
        clock.now += step_s
    assert taken == [0, 1, 2]
    assert clock.slept == [pytest.approx(rest_s)] * 3


@pytest.mark.parametrize(("tamper", "kind"), [one[1:] for one in TAMPERING], ids=[one[0] for one in TAMPERING])
def test_whatever_is_wrong_is_found_at_leisure_too(settled: World, tamper: Tamper, kind: BreakKind) -> None:
    tamper(settled)
    pace = Leisure(settled.clock, settled.clock.sleep)
    verifier = ChainVerifier(settled.new_ledger_reconciliation(), settled.clock, pace)
    settled.clock.slept.clear()
    at_leisure = Reconciler(settled.new_cache(), settled.new_ledger_reconciliation(), verifier, settled.clock, pace)
    assert kind in {found.kind for found in at_leisure.run(full=True).breaks}
    assert settled.clock.slept
