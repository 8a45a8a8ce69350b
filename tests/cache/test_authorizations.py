"""conclude.lua: an authorization ends once, whichever of two conclusions comes first."""

from itertools import permutations

import pytest

from app.cache import keys
from app.domain.authorizations import AuthorizationState
from app.domain.money import MAX_MINOR
from app.domain.payment import Intent, Kind, OutboxPosition
from app.domain.reservations import ConcludeReply, Conclusion, Funds, Stale
from tests.builders import WINDOW_MS, intent
from tests.cache.world import DIRECTORY_VERSION, CacheUnderTest

FAR_FUTURE_MS, LONG_AGO_MS = 9_999_999_999_999, 1


def authorized(cache: CacheUnderTest, amount_minor: int = 60, external_id: str = "hold-1") -> OutboxPosition:
    [decision] = cache.reserve(intent(amount_minor=amount_minor, external_id=external_id, kind=Kind.AUTHORIZATION))
    assert decision.stream_id is not None, decision
    return OutboxPosition(0, decision.stream_id)


def ending(outbox_position: OutboxPosition, state: AuthorizationState, captured_minor: int) -> Intent:
    if state is AuthorizationState.CAPTURED:
        return intent(amount_minor=captured_minor, kind=Kind.CAPTURE, payment_id=outbox_position.payment_id)
    kind = Kind.VOID if state is AuthorizationState.VOIDED else Kind.EXPIRY
    made = intent(amount_minor=1, hold_minor=0, kind=kind, payment_id=outbox_position.payment_id)
    made.legs = []
    return made


def conclude(
    cache: CacheUnderTest,
    outbox_position: OutboxPosition,
    state: AuthorizationState,
    captured_minor: int = 0,
    *,
    expires_at_ms: int = FAR_FUTURE_MS,
    directory_version: int = DIRECTORY_VERSION,
) -> ConcludeReply:
    reply = cache.cache.authorizations.conclude(
        outbox_position, ending(outbox_position, state, captured_minor), state, expires_at_ms, directory_version
    )
    assert isinstance(reply, ConcludeReply)
    return reply


@pytest.mark.parametrize("captured", [60, 25, 1])
def test_a_capture_holds_what_it_takes_until_it_is_posted_and_frees_the_rest(
    cache: CacheUnderTest, captured: int
) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache, 60)
    reply = conclude(cache, outbox_position, AuthorizationState.CAPTURED, captured)
    assert (reply.code, reply.version) == ("CONCLUDED", 2)
    assert reply.conclusion is not None
    assert cache.state() == Funds(100, captured, 0, 2)
    assert cache.holds() == {reply.conclusion.stream_id: captured}
    assert cache.outbox() == [outbox_position.stream_id, reply.conclusion.stream_id]


def test_a_void_frees_everything_at_once(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    reply = conclude(cache, authorized(cache), AuthorizationState.VOIDED)
    assert reply.code == "CONCLUDED"
    assert cache.state() == Funds(100, 0, 0, 2)
    assert cache.holds() == {}


ENDINGS = {
    "all captured": (AuthorizationState.CAPTURED, 60, FAR_FUTURE_MS),
    "part captured": (AuthorizationState.CAPTURED, 20, FAR_FUTURE_MS),
    "voided": (AuthorizationState.VOIDED, 0, FAR_FUTURE_MS),
    "expired": (AuthorizationState.EXPIRED, 0, LONG_AGO_MS),
}


@pytest.mark.parametrize(("first", "second"), list(permutations(ENDINGS, 2)) + [(one, one) for one in ENDINGS])
def test_a_second_conclusion_is_told_of_the_first_and_changes_nothing(
    cache: CacheUnderTest, first: str, second: str
) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache)
    state, captured, expires_at_ms = ENDINGS[first]
    done = conclude(cache, outbox_position, state, captured, expires_at_ms=expires_at_ms)
    assert done.code == "CONCLUDED"
    assert done.conclusion is not None
    before = cache.everything()
    later_state, later_captured, later_expiry = ENDINGS[second]
    told = conclude(cache, outbox_position, later_state, later_captured, expires_at_ms=later_expiry)
    assert (told.code, told.conclusion) == ("CONCLUDED_BEFORE", Conclusion(state, captured, done.conclusion.stream_id))
    assert cache.cache.authorizations.conclusion(outbox_position) == told.conclusion
    assert cache.everything() == before


@pytest.mark.parametrize(
    ("state", "expires_at_ms", "code"),
    [
        (AuthorizationState.CAPTURED, LONG_AGO_MS, "EXPIRED"),
        (AuthorizationState.EXPIRED, FAR_FUTURE_MS, "NOT_DUE"),
        (AuthorizationState.VOIDED, LONG_AGO_MS, "EXPIRED"),
        (AuthorizationState.VOIDED, FAR_FUTURE_MS, "CONCLUDED"),
        (AuthorizationState.EXPIRED, LONG_AGO_MS, "CONCLUDED"),
    ],
)
def test_the_clock_of_the_cache_decides_what_has_expired(
    cache: CacheUnderTest, state: AuthorizationState, expires_at_ms: int, code: str
) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache)
    before = cache.everything()
    reply = conclude(cache, outbox_position, state, expires_at_ms=expires_at_ms)
    assert reply.code == code
    assert (cache.everything() == before) is (code != "CONCLUDED")


def test_a_full_backlog_stops_captures_and_lets_releases_through(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    one, other = authorized(cache, 10, "a"), authorized(cache, 10, "b")
    full = cache.limited_to(2)
    before = cache.everything()
    assert conclude(full, one, AuthorizationState.CAPTURED, 10).code == "BACKLOGGED"
    assert cache.everything() == before
    assert conclude(full, one, AuthorizationState.VOIDED).code == "CONCLUDED"
    assert conclude(full, other, AuthorizationState.EXPIRED, expires_at_ms=LONG_AGO_MS).code == "CONCLUDED"


def test_a_cold_account_a_missing_authorization_and_a_stale_caller_are_told_apart(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache)
    assert conclude(cache, OutboxPosition(0, "5-5"), AuthorizationState.VOIDED).code == "GONE"
    cache.client.delete(keys.account(0, "alice"))
    assert conclude(cache, outbox_position, AuthorizationState.VOIDED).code == "COLD"
    cache.cache.partition_states.open(0, 2, "")
    made = ending(outbox_position, AuthorizationState.VOIDED, 0)
    assert isinstance(
        cache.cache.authorizations.conclude(outbox_position, made, AuthorizationState.VOIDED, FAR_FUTURE_MS, 1), Stale
    )


def test_a_conclusion_that_is_forgotten_does_not_bring_the_hold_back(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache)
    conclude(cache, outbox_position, AuthorizationState.VOIDED)
    name = keys.conclusion(0, outbox_position.stream_id)
    assert 0 < int(cache.client.pttl(name)) <= WINDOW_MS  # type: ignore[arg-type]
    cache.client.delete(name)
    assert conclude(cache, outbox_position, AuthorizationState.CAPTURED, 60).code == "GONE"


def test_the_largest_authorization_is_concluded_to_the_last_unit(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=MAX_MINOR)
    outbox_position = authorized(cache, MAX_MINOR)
    conclude(cache, outbox_position, AuthorizationState.CAPTURED, MAX_MINOR - 1)
    assert cache.raw()["held"] == str(MAX_MINOR - 1)


@pytest.mark.parametrize(("awake", "wake"), [(True, False), (False, True)])
def test_a_conclusion_wakes_a_drain_when_none_is_at_work(cache: CacheUnderTest, awake: bool, wake: bool) -> None:
    cache.with_wallet(balance_minor=100)
    outbox_position = authorized(cache)
    cache.cache.outbox.settle(0, [], done=[outbox_position.stream_id])
    if awake:
        cache.cache.outbox.mark_awake()
    assert conclude(cache, outbox_position, AuthorizationState.VOIDED).wake is wake
