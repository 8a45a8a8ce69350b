"""Authorizations over real servers: they reach the ledger, survive the loss of the cache, and end once."""

from datetime import timedelta

import pytest

from app.domain.authorizations import Authorization, AuthorizationState
from app.domain.breaks import BreakKind
from app.domain.refusals import Refusal, RefusalCode
from app.services.payments.authorizations import Authorizations, Concluded
from app.services.payments.outcomes import Accepted
from tests.services.faults import Crashed, CrashPoints, SteppedSession, stepped_cache
from tests.world import World


def holds_of(world: World) -> Authorizations:
    return world.authorizations


@pytest.fixture
def funded(world: World) -> World:
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    return world


def authorize(world: World, amount_minor: int = 300, external_id: str = "hold-1") -> Accepted:
    return world.accepted("alice", "bob", amount_minor, external_id, manual_capture=True, expires_in_s=3_600)


def state_of(world: World, accepted: Accepted) -> AuthorizationState:
    hold = world.ledger_authorizations.get(accepted.payment_id)
    assert hold is not None
    return hold.state


@pytest.mark.parametrize("drained", [True, False], ids=["in the ledger", "still pending"])
@pytest.mark.parametrize("captured", [300, 120])
def test_a_capture_moves_what_it_takes_and_frees_the_rest(funded: World, captured: int, drained: bool) -> None:
    accepted = authorize(funded)
    if drained:
        funded.drain()
        assert (funded.booked("alice"), funded.cached("alice").funds.available_minor) == (1_000, 700)
        assert funded.reconcile().breaks == []
    outcome = holds_of(funded).capture(accepted.payment_id, captured, "key:test")
    assert isinstance(outcome, Concluded)
    assert funded.cached("alice").funds.available_minor == 1_000 - captured
    funded.drain()
    assert (funded.booked("alice"), funded.booked("bob")) == (1_000 - captured, captured)
    assert state_of(funded, accepted) is AuthorizationState.CAPTURED
    funded.assert_proven()


@pytest.mark.parametrize("drained", [True, False], ids=["in the ledger", "still pending"])
def test_a_void_moves_nothing(funded: World, drained: bool) -> None:
    accepted = authorize(funded)
    if drained:
        funded.drain()
    assert isinstance(holds_of(funded).void(accepted.payment_id, "key:test"), Concluded)
    funded.drain()
    assert (funded.booked("alice"), funded.cached("alice").funds.available_minor) == (1_000, 1_000)
    assert state_of(funded, accepted) is AuthorizationState.VOIDED
    funded.assert_proven()


@pytest.mark.parametrize("forgotten", [False, True], ids=["remembered", "window over"])
def test_an_authorization_ends_once(funded: World, forgotten: bool) -> None:
    accepted = authorize(funded)
    funded.drain()
    holds = holds_of(funded)
    assert isinstance(holds.capture(accepted.payment_id, 100, "key:test"), Concluded)
    funded.drain()
    if forgotten:
        funded.lose_cache()
    again = holds.capture(accepted.payment_id, 100, "key:test")
    assert isinstance(again, Concluded)
    assert again.replayed
    for outcome in (holds.capture(accepted.payment_id, 101, "key:test"), holds.void(accepted.payment_id, "key:test")):
        assert isinstance(outcome, Refusal)
        assert outcome.code == RefusalCode.HOLD_ALREADY_CAPTURED
    funded.drain()
    assert funded.booked("bob") == 100
    funded.assert_proven()


def test_open_authorizations_survive_the_loss_of_the_cache(funded: World) -> None:
    accepted = authorize(funded)
    funded.drain()
    funded.lose_cache()
    assert funded.warm("alice").funds.available_minor == 700
    assert funded.reconcile().breaks == []
    assert isinstance(holds_of(funded).capture(accepted.payment_id, 300, "key:test"), Concluded)
    funded.drain()
    assert funded.booked("bob") == 300
    funded.assert_proven()


def test_a_conclusion_lost_with_the_cache_leaves_the_authorization_open(funded: World) -> None:
    accepted = authorize(funded)
    funded.drain()
    holds = holds_of(funded)
    holds.capture(accepted.payment_id, 300, "key:test")
    funded.lose_cache()
    assert funded.warm("alice").funds.available_minor == 700
    assert isinstance(holds.void(accepted.payment_id, "key:test"), Concluded)
    funded.drain()
    assert (funded.booked("bob"), state_of(funded, accepted)) == (0, AuthorizationState.VOIDED)
    funded.assert_proven()


def test_an_expired_authorization_is_released_and_others_stay_open(funded: World) -> None:
    accepted = authorize(funded)
    funded.drain()
    hold = funded.ledger_authorizations.get(accepted.payment_id)
    assert hold is not None
    holds = holds_of(funded)
    assert holds.expire_due(hold.expires_at - timedelta(seconds=1)) == 0
    assert holds.expire_due(hold.expires_at + timedelta(seconds=1)) == 0  # the cache's clock says that it is not due
    funded.tamper("UPDATE hold SET expires_at = now() - interval '1 hour'")
    assert holds.expire_due(hold.expires_at) == 1
    funded.drain()
    assert state_of(funded, accepted) is AuthorizationState.EXPIRED
    assert funded.cached("alice").funds.available_minor == 1_000


def test_an_authorization_that_holds_nothing_can_be_captured(funded: World) -> None:
    """Nothing is held there; the authorization stands all the same."""
    outcome = funded.accepted("bank", "bob", 50, "hold-1", manual_capture=True, expires_in_s=3_600)
    funded.drain()
    assert isinstance(holds_of(funded).capture(outcome.payment_id, 50, "key:test"), Concluded)
    funded.drain()
    assert funded.booked("bob") == 50
    funded.assert_proven()


def test_a_crash_at_any_step_of_posting_a_capture_leaves_one_capture(funded: World) -> None:
    holds, captured = holds_of(funded), 0

    def crashing(points: CrashPoints) -> None:
        funded.new_drain(
            cache=stepped_cache(funded.new_cache(), points), ledger=SteppedSession(funded.new_posting_session(), points)
        ).run_once()

    def prepare(number: int) -> None:
        kept, voided = authorize(funded, 2, f"kept-{number}"), authorize(funded, 3, f"voided-{number}")
        authorize(funded, 1, f"open-{number}")
        funded.drain()
        holds.capture(kept.payment_id, 1, "key:test")
        holds.void(voided.payment_id, "key:test")

    trial = CrashPoints()
    prepare(0)
    crashing(trial)
    captured += 1
    for at in range(1, len(trial.passed) + 1):
        prepare(at)
        with pytest.raises(Crashed):
            crashing(CrashPoints(at))
        funded.drain(funded.new_drain())
        captured += 1
        assert funded.booked("bob") == captured
        assert funded.cached("alice").funds.held_minor == captured  # one open authorization of 1 each time
        assert funded.reconcile().breaks == []
    funded.assert_proven()


def test_a_capture_that_the_ledger_rejects_voids_its_authorization(funded: World) -> None:
    """The cache has released the hold by then, so the ledger must not keep the authorization open."""
    accepted = authorize(funded)
    funded.drain()
    funded.tamper("UPDATE account_balance SET floor_minor = 900 WHERE account_id = 'alice'")
    holds = holds_of(funded)
    outcome = holds.capture(accepted.payment_id, None, "key:test")
    assert isinstance(outcome, Concluded)
    funded.drain()
    assert (funded.booked("alice"), funded.cached("alice").funds.held_minor) == (1_000, 0)
    assert state_of(funded, accepted) is AuthorizationState.VOIDED
    found = funded.finder.find(accepted.payment_id)
    assert isinstance(found, Authorization)
    assert found.state is AuthorizationState.VOIDED
    waited = holds.wait(outcome, 0)
    assert isinstance(waited, Refusal)
    assert waited.code is RefusalCode.INSUFFICIENT_FUNDS
    again = holds.capture(accepted.payment_id, None, "key:test")
    assert isinstance(again, Refusal)
    assert again.code is RefusalCode.HOLD_ALREADY_VOIDED
    found = {one.kind for one in funded.reconcile().breaks}
    assert found == {BreakKind.CACHE_FLOOR, BreakKind.ACCOUNT_MISMATCH}  # this test's own doing
