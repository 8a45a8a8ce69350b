"""Authorizations survive what the cache loses, and what a drain does twice."""

from collections.abc import Callable

import pytest

from app.domain.authorizations import AuthorizationState
from app.domain.refusals import Refusal
from app.services.payments.authorizations import Concluded
from tests import hot_state
from tests.services.faults import Crashed, CrashPoints, Hooked, SteppedSession
from tests.world import World


@pytest.fixture
def world(world: World) -> World:
    """An account with 1,000 and one with nothing."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    return world


def authorized(world: World, amount_minor: int = 300, **more: object) -> str:
    accepted = world.accepted("alice", "bob", amount_minor, manual_capture=True, **({"expires_in_s": 3_600} | more))
    return accepted.payment_id


def overdue(world: World, payment_id: str) -> None:
    """Move the time of an authorization into the past."""
    world.tamper(f"UPDATE hold SET expires_at = now() - interval '1 second' WHERE payment_id = '{payment_id}'")


def capture(world: World, payment_id: str) -> object:
    return world.authorizations.capture(payment_id, 120, "key:test")


def void(world: World, payment_id: str) -> object:
    return world.authorizations.void(payment_id, "key:test")


def expire(world: World, payment_id: str) -> object:
    overdue(world, payment_id)
    authorization = world.ledger_authorizations.get(payment_id)
    assert authorization is not None
    assert world.authorizations.expire_due(authorization.expires_at) == 1
    return None


End = Callable[[World, str], object]
ENDS = [
    pytest.param(capture, AuthorizationState.CAPTURED, 120, id="capture"),
    pytest.param(void, AuthorizationState.VOIDED, 0, id="void"),
    pytest.param(expire, AuthorizationState.EXPIRED, 0, id="expiry"),
]


def cache(world: World) -> tuple[int, int]:
    state = world.warm("alice").funds
    return state.balance_minor, state.held_minor


def assert_ended(world: World, payment_id: str, state: AuthorizationState, captured: int) -> None:
    world.drain(world.new_drain())
    authorization = world.ledger_authorizations.get(payment_id)
    assert authorization is not None
    assert authorization.state is state
    assert cache(world) == (1_000 - captured, 0)
    assert world.booked("bob") == captured
    [(events,)] = world.rows("SELECT count(*) FROM hold_event WHERE payment_id = %s", payment_id)
    assert events == 2
    world.assert_proven()


@pytest.mark.parametrize(("end", "state", "captured"), ENDS)
def test_open_authorizations_come_back_from_the_ledger_and_end_as_ever(
    world: World, end: End, state: AuthorizationState, captured: int
) -> None:
    payment_id, other = authorized(world), authorized(world, 50)
    world.drain()
    world.lose_cache()
    assert cache(world) == (1_000, 350)
    assert world.reconcile().breaks == []
    void(world, other)
    world.lose_cache()  # the void is lost with the cache: it was only promised
    void(world, other)
    world.drain()
    world.lose_cache()
    end(world, payment_id)  # on an account that is cold
    assert cache(world) == (1_000, captured)
    assert_ended(world, payment_id, state, captured)


def test_an_ended_authorization_does_not_come_back(world: World) -> None:
    for end in (capture, void, expire):
        payment_id = authorized(world)
        world.drain()
        end(world, payment_id)
        world.drain()
    world.lose_cache()
    assert cache(world) == (880, 0)
    world.assert_proven()


def test_an_authorization_that_was_only_promised_is_lost_with_the_cache_and_holds_nothing(world: World) -> None:
    payment_id = authorized(world)
    world.lose_cache()
    assert cache(world) == (1_000, 0)
    outcome = void(world, payment_id)
    assert isinstance(outcome, Refusal)
    assert outcome.code == "hold_not_found"
    world.assert_proven()


@pytest.mark.parametrize("posted", [True, False], ids=["authorization in the ledger", "authorization pending"])
@pytest.mark.parametrize(("end", "state", "captured"), ENDS[:2])
def test_an_account_that_lost_its_funds_while_an_end_is_pending_holds_enough_until_the_settle(
    world: World, end: End, state: AuthorizationState, captured: int, posted: bool
) -> None:
    payment_id = authorized(world)
    if posted:
        world.drain()
    end(world, payment_id)
    hot_state.lose_funds(world.client, world.account_key("alice"))
    balance, held = cache(world)
    assert balance == 1_000
    assert captured <= held <= 300 + captured
    assert world.reconcile().breaks == []
    assert_ended(world, payment_id, state, captured)


@pytest.mark.parametrize(("end", "state", "captured"), ENDS[:2])
def test_an_account_lost_with_its_holds_while_an_end_is_pending_is_right_after_the_settle(
    world: World, end: End, state: AuthorizationState, captured: int
) -> None:
    payment_id = authorized(world)
    world.drain()
    end(world, payment_id)
    world.client.delete(world.account_key("alice"))
    assert cache(world) == (1_000, 300)
    assert_ended(world, payment_id, state, captured)


@pytest.mark.parametrize("posted", [True, False], ids=["authorization in the ledger", "authorization pending"])
@pytest.mark.parametrize(("end", "state", "captured"), ENDS[:2])
def test_a_hydration_that_read_before_the_settle_of_an_end_reads_again(
    world: World, end: End, state: AuthorizationState, captured: int, posted: bool
) -> None:
    payment_id = authorized(world)
    if posted:
        world.drain()
    end(world, payment_id)
    world.client.delete(world.account_key("alice"))
    reads: list[str] = []

    def settle() -> None:
        world.drain()

    late = Hooked(world.ledger_accounts, "balances_for_hydration", after=settle)

    class Counted:
        """The world, counting how often it is read."""

        def __getattr__(self, name: str) -> object:
            reads.append(name)
            return getattr(late, name)

    world.new_balances(ledger=Counted()).hydrate(["alice"])
    assert reads.count("balances_for_hydration") == 2
    assert cache(world) == (1_000 - captured, 0)
    assert_ended(world, payment_id, state, captured)


def test_two_hydrations_of_which_one_is_old_hold_an_open_authorization_once(world: World) -> None:
    authorized(world)
    world.drain()
    world.client.delete(world.account_key("alice"))
    balances = world.new_balances()
    late = Hooked(world.ledger_accounts, "balances_for_hydration", after=lambda: balances.hydrate(["alice"]))
    world.new_balances(ledger=late).hydrate(["alice"])
    assert cache(world) == (1_000, 300)
    world.assert_proven()


# Delivered twice


def crash_after_commit(world: World) -> None:
    """One drain that posts and ends before it settles."""

    class EndingAtCommit(CrashPoints):
        def step(self, name: str) -> None:
            if name == "after commit":
                raise Crashed(name)

    posted = SteppedSession(world.new_posting_session(), EndingAtCommit())
    with pytest.raises(Crashed):
        world.new_drain(ledger=posted).run_once()


@pytest.mark.parametrize("emptied", [False, True], ids=["cache kept", "account lost"])
@pytest.mark.parametrize(("end", "state", "captured"), ENDS)
def test_every_intent_of_an_authorization_may_be_delivered_twice(
    world: World, end: End, state: AuthorizationState, captured: int, emptied: bool
) -> None:
    payment_id = authorized(world)
    crash_after_commit(world)
    if emptied:
        world.client.delete(world.account_key("alice"))
    assert cache(world) == (1_000, 300)
    world.drain(world.new_drain())
    assert cache(world) == (1_000, 300)
    end(world, payment_id)
    crash_after_commit(world)
    if emptied:
        world.client.delete(world.account_key("alice"))
        world.warm("alice")
    assert cache(world)[1] in (0, captured)
    assert_ended(world, payment_id, state, captured)


def test_an_authorization_and_its_end_may_be_delivered_twice_together(world: World) -> None:
    payment_ids = [authorized(world, 100) for _ in range(3)]
    for payment_id, end in zip(payment_ids, (capture, void, void), strict=True):
        outcome = end(world, payment_id) if end is void else world.authorizations.capture(payment_id, 70, "key:test")
        assert isinstance(outcome, Concluded)
    crash_after_commit(world)
    world.drain(world.new_drain())
    assert (cache(world), world.booked("bob")) == ((930, 0), 70)
    assert world.rows("SELECT state, count(*) FROM hold_event GROUP BY state ORDER BY state") == [
        ("authorized", 3),
        ("captured", 1),
        ("voided", 2),
    ]
    world.assert_proven()
