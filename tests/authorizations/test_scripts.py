"""conclude.lua as a table: what it is asked, what it answers, and what is left in the cache."""

from dataclasses import dataclass

import pytest

from app.cache import keys
from app.domain.authorizations import AuthorizationState, authorization_of
from app.domain.ledger_rows import QueuedIntent
from app.domain.money import MAX_MINOR
from app.domain.payment import Intent, Kind, Leg, OutboxPosition
from app.domain.reservations import ConcludeReply, Stale
from app.services.payments.authorizations import conclusion_intent
from tests.builders import WINDOW_MS, intent
from tests.cache.world import DIRECTORY_VERSION, CacheUnderTest

FUTURE_MS, PAST_MS = 9_999_999_999_999, 1


@dataclass
class Authorized:
    """An authorization in the cache."""

    cache: CacheUnderTest
    outbox_position: OutboxPosition
    intent: Intent

    def end(
        self,
        state: AuthorizationState,
        amount_minor: int = 0,
        *,
        expires_at_ms: int | None = None,
        directory_version: int = DIRECTORY_VERSION,
        cache: CacheUnderTest | None = None,
    ) -> ConcludeReply | Stale:
        """End it as the service would; by default at a time that allows it."""
        if expires_at_ms is None:
            expires_at_ms = PAST_MS if state is AuthorizationState.EXPIRED else FUTURE_MS
        authorization = authorization_of(QueuedIntent(self.outbox_position, self.intent))
        made = conclusion_intent(authorization, state, amount_minor, "key:test")
        called = (cache or self.cache).cache
        return called.authorizations.conclude(
            self.outbox_position, made, state, expires_at_ms, directory_version, not authorization.hold_minor
        )

    def ended(self, state: AuthorizationState, amount_minor: int = 0) -> str:
        """End it, which must succeed; the position of the end."""
        reply = self.end(state, amount_minor)
        assert isinstance(reply, ConcludeReply)
        assert reply.conclusion is not None, reply
        assert reply.code == "CONCLUDED"
        return reply.conclusion.stream_id

    def code(self, state: AuthorizationState, amount_minor: int = 0, **more: object) -> str:
        """The answer's code."""
        reply = self.end(state, amount_minor, **more)  # type: ignore[arg-type]
        return "STALE" if isinstance(reply, Stale) else reply.code.value


def authorize(cache: CacheUnderTest, made: Intent) -> Authorized:
    [decision] = cache.reserve(made)
    assert decision.stream_id is not None, decision
    return Authorized(cache, OutboxPosition(0, decision.stream_id), made)


def authorized(cache: CacheUnderTest, amount_minor: int = 60, external_id: str = "hold-1") -> Authorized:
    return authorize(cache, intent(amount_minor=amount_minor, external_id=external_id, kind=Kind.AUTHORIZATION))


@pytest.fixture
def authorization(cache: CacheUnderTest) -> Authorized:
    """60 of 100 are held."""
    cache.with_wallet(balance_minor=100)
    return authorized(cache)


@pytest.mark.parametrize(
    ("state", "amount", "held_after"),
    [
        (AuthorizationState.CAPTURED, 60, 60),
        (AuthorizationState.CAPTURED, 59, 59),
        (AuthorizationState.CAPTURED, 1, 1),
        (AuthorizationState.VOIDED, 0, 0),
        (AuthorizationState.EXPIRED, 0, 0),
    ],
)
def test_an_end_frees_at_once_what_it_does_not_capture(
    authorization: Authorized, state: AuthorizationState, amount: int, held_after: int
) -> None:
    cache = authorization.cache
    end = authorization.ended(state, amount)
    assert (cache.state().held_minor, cache.state().available_minor) == (held_after, 100 - held_after)
    assert cache.state().version == 2
    assert cache.holds() == ({end: held_after} if held_after else {})
    assert cache.outbox() == [authorization.outbox_position.stream_id, end]
    assert cache.raw()["changed_at"] == end
    assert cache.codes(intent(amount_minor=100 - held_after, external_id="all the rest")) == ["RESERVED"]


ENDS = [
    (AuthorizationState.CAPTURED, 60),
    (AuthorizationState.CAPTURED, 20),
    (AuthorizationState.VOIDED, 0),
    (AuthorizationState.EXPIRED, 0),
]


@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("first", ENDS)
def test_the_second_is_told_of_the_first_and_changes_nothing(
    authorization: Authorized, first: tuple[AuthorizationState, int], second: tuple[AuthorizationState, int]
) -> None:
    end = authorization.ended(*first)
    before = authorization.cache.everything()
    reply = authorization.end(*second)
    assert isinstance(reply, ConcludeReply)
    assert reply.code == "CONCLUDED_BEFORE"
    assert reply.conclusion is not None
    assert (reply.conclusion.state, reply.conclusion.captured_minor, reply.conclusion.stream_id) == (*first, end)
    assert authorization.cache.everything() == before


@pytest.mark.parametrize(
    ("state", "amount", "expires_at_ms", "code"),
    [
        (AuthorizationState.CAPTURED, 60, PAST_MS, "EXPIRED"),
        (AuthorizationState.VOIDED, 0, PAST_MS, "EXPIRED"),
        (AuthorizationState.EXPIRED, 0, FUTURE_MS, "NOT_DUE"),
    ],
)
def test_what_comes_too_late_or_too_early_changes_nothing(
    authorization: Authorized, state: AuthorizationState, amount: int, expires_at_ms: int, code: str
) -> None:
    before = authorization.cache.everything()
    assert authorization.code(state, amount, expires_at_ms=expires_at_ms) == code
    assert authorization.cache.everything() == before


def test_the_first_end_is_told_even_after_the_expiry(authorization: Authorized) -> None:
    authorization.ended(AuthorizationState.CAPTURED, 60)
    assert authorization.code(AuthorizationState.CAPTURED, 60, expires_at_ms=PAST_MS) == "CONCLUDED_BEFORE"


@pytest.mark.parametrize(
    ("state", "amount", "code"),
    [
        (AuthorizationState.CAPTURED, 60, "BACKLOGGED"),
        (AuthorizationState.CAPTURED, 1, "BACKLOGGED"),
        (AuthorizationState.VOIDED, 0, "CONCLUDED"),
        (AuthorizationState.EXPIRED, 0, "CONCLUDED"),
    ],
)
def test_a_full_backlog_stops_captures_only(
    authorization: Authorized, state: AuthorizationState, amount: int, code: str
) -> None:
    before = authorization.cache.everything()
    assert authorization.code(state, amount, cache=authorization.cache.limited_to(1)) == code
    assert (authorization.cache.everything() == before) is (code == "BACKLOGGED")


def test_a_cold_account_must_be_brought_first(authorization: Authorized) -> None:
    authorization.cache.client.delete(keys.account(0, "alice"))
    before = authorization.cache.everything()
    assert authorization.code(AuthorizationState.CAPTURED, 60) == "COLD"
    assert authorization.cache.everything() == before


def test_a_place_holder_is_as_cold_as_nothing(authorization: Authorized) -> None:
    authorization.cache.client.delete(keys.account(0, "alice"))
    authorization.cache.cache.accounts.set_placeholders(["alice"])
    assert authorization.code(AuthorizationState.VOIDED) == "COLD"


@pytest.mark.parametrize(("state", "amount"), ENDS)
def test_where_there_is_no_such_authorization_the_ledger_must_be_asked(
    authorization: Authorized, state: AuthorizationState, amount: int
) -> None:
    elsewhere = Authorized(authorization.cache, OutboxPosition(0, "1-1"), authorization.intent)
    before = authorization.cache.everything()
    assert elsewhere.code(state, amount) == "GONE"
    assert authorization.cache.everything() == before


@pytest.mark.parametrize(("state", "amount"), ENDS)
def test_an_ended_authorization_is_gone_when_its_end_is_forgotten(
    authorization: Authorized, state: AuthorizationState, amount: int
) -> None:
    authorization.ended(AuthorizationState.VOIDED)
    authorization.cache.client.delete(keys.conclusion(0, authorization.outbox_position.stream_id))
    assert authorization.code(state, amount) == "GONE"


def test_an_end_is_remembered_for_the_window(authorization: Authorized) -> None:
    authorization.ended(AuthorizationState.VOIDED)
    left: object = authorization.cache.client.pttl(keys.conclusion(0, authorization.outbox_position.stream_id))
    assert isinstance(left, int)
    assert WINDOW_MS / 2 < left <= WINDOW_MS


def test_whoever_knows_an_old_directory_is_sent_back_before_anything_else(authorization: Authorized) -> None:
    authorization.ended(AuthorizationState.VOIDED)
    authorization.cache.cache.partition_states.open(0, DIRECTORY_VERSION + 1, "")
    assert authorization.code(AuthorizationState.VOIDED) == "STALE"
    assert authorization.code(AuthorizationState.VOIDED, directory_version=DIRECTORY_VERSION + 1) == "CONCLUDED_BEFORE"


def test_a_partition_that_is_not_open_is_stale(authorization: Authorized) -> None:
    authorization.cache.client.delete(keys.directory(0))
    assert authorization.code(AuthorizationState.CAPTURED, 60) == "STALE"


@pytest.mark.parametrize(
    ("backlogged", "awake", "wake"), [(False, False, True), (False, True, False), (True, False, False)]
)
def test_only_the_first_intent_wakes_a_drain_and_only_where_none_is_at_work(
    authorization: Authorized, backlogged: bool, awake: bool, wake: bool
) -> None:
    if not backlogged:
        authorization.cache.cache.outbox.settle(0, [], done=[authorization.outbox_position.stream_id])
    if awake:
        authorization.cache.cache.outbox.mark_awake()
    reply = authorization.end(AuthorizationState.CAPTURED, 60)
    assert isinstance(reply, ConcludeReply)
    assert reply.wake is wake


@pytest.mark.parametrize("captured", [MAX_MINOR, MAX_MINOR - 1, 1])
def test_the_largest_amounts_are_held_to_the_unit(cache: CacheUnderTest, captured: int) -> None:
    cache.with_wallet(balance_minor=MAX_MINOR)
    end = authorized(cache, MAX_MINOR).ended(AuthorizationState.CAPTURED, captured)
    assert cache.raw()["held"] == str(captured)
    assert cache.holds() == {end: captured}


def test_other_holds_of_the_account_stay(authorization: Authorized) -> None:
    other = authorized(authorization.cache, 30, "hold-2")
    authorization.ended(AuthorizationState.VOIDED)
    assert authorization.cache.holds() == {other.outbox_position.stream_id: 30}
    assert authorization.cache.state().held_minor == 30


@pytest.mark.parametrize(("state", "amount"), ENDS)
def test_an_authorization_that_lets_the_balance_rise_holds_nothing_and_ends_once(
    cache: CacheUnderTest, state: AuthorizationState, amount: int
) -> None:
    cache.with_wallet("bank", floor_minor=None, normal_sign=1)
    made = intent("bank", "alice", 60, hold_minor=0, kind=Kind.AUTHORIZATION)
    authorization = authorize(cache, made)
    assert cache.holds("bank") == {}
    end = authorization.ended(state, amount)
    assert (cache.holds("bank"), cache.state("bank").held_minor) == ({}, 0)
    assert cache.outbox() == [authorization.outbox_position.stream_id, end]
    assert authorization.code(AuthorizationState.VOIDED) == "CONCLUDED_BEFORE"


def test_the_end_in_the_outbox_says_what_it_ends_and_what_it_moves(authorization: Authorized) -> None:
    authorization.ended(AuthorizationState.CAPTURED, 25)
    [_, end] = authorization.cache.cache.outbox.read(0)
    assert (end.intent.kind, end.payment_id) == (Kind.CAPTURE, authorization.outbox_position.payment_id)
    assert end.intent.legs == [Leg("alice", 25), Leg("bob", -25)]
    assert end.intent.hold_minor == 25
