"""conclude.lua: an authorization ends once, whoever comes first."""

from itertools import permutations

import pytest

from app.domain.decisions import ConcludeReply, Conclusion, FundsState, Stale
from app.domain.holds import HoldState
from app.domain.money import MAX_MINOR
from app.domain.partitions import PaymentPosition
from app.domain.payments import Intent, Kind
from app.funds import keys
from tests.builders import WINDOW_MS, intent
from tests.funds.cache import DIRECTORY_VERSION, Cache

FAR_FUTURE_MS, LONG_AGO_MS = 9_999_999_999_999, 1


def authorized(cache: Cache, amount_minor: int = 60, external_id: str = "hold-1") -> PaymentPosition:
    [decision] = cache.reserve(intent(amount_minor=amount_minor, external_id=external_id, kind=Kind.AUTHORIZATION))
    assert decision.position is not None, decision
    return PaymentPosition(0, decision.position)


def ending(place: PaymentPosition, state: HoldState, captured_minor: int) -> Intent:
    if state is HoldState.CAPTURED:
        return intent(amount_minor=captured_minor, kind=Kind.CAPTURE, payment_id=place.payment_id)
    kind = Kind.VOID if state is HoldState.VOIDED else Kind.EXPIRY
    made = intent(amount_minor=1, hold_minor=0, kind=kind, payment_id=place.payment_id)
    made.legs = []
    return made


def conclude(
    cache: Cache,
    place: PaymentPosition,
    state: HoldState,
    captured_minor: int = 0,
    *,
    expires_at_ms: int = FAR_FUTURE_MS,
    directory_version: int = DIRECTORY_VERSION,
) -> ConcludeReply:
    reply = cache.funds.conclude(place, ending(place, state, captured_minor), state, expires_at_ms, directory_version)
    assert isinstance(reply, ConcludeReply)
    return reply


@pytest.mark.parametrize("captured", [60, 25, 1])
def test_a_capture_holds_what_it_takes_until_it_is_posted_and_frees_the_rest(cache: Cache, captured: int) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache, 60)
    reply = conclude(cache, place, HoldState.CAPTURED, captured)
    assert (reply.code, reply.version) == ("CONCLUDED", 2)
    assert reply.conclusion is not None
    assert cache.state() == FundsState(100, captured, 0, 2)
    assert cache.holds() == {reply.conclusion.position: captured}
    assert cache.outbox() == [place.position, reply.conclusion.position]


def test_a_void_frees_everything_at_once(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100)
    reply = conclude(cache, authorized(cache), HoldState.VOIDED)
    assert reply.code == "CONCLUDED"
    assert cache.state() == FundsState(100, 0, 0, 2)
    assert cache.holds() == {}


ENDINGS = {
    "all captured": (HoldState.CAPTURED, 60, FAR_FUTURE_MS),
    "part captured": (HoldState.CAPTURED, 20, FAR_FUTURE_MS),
    "voided": (HoldState.VOIDED, 0, FAR_FUTURE_MS),
    "expired": (HoldState.EXPIRED, 0, LONG_AGO_MS),
}


@pytest.mark.parametrize(("first", "second"), list(permutations(ENDINGS, 2)) + [(one, one) for one in ENDINGS])
def test_whoever_comes_second_is_told_what_the_first_did_and_changes_nothing(
    cache: Cache, first: str, second: str
) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache)
    state, captured, expires_at_ms = ENDINGS[first]
    done = conclude(cache, place, state, captured, expires_at_ms=expires_at_ms)
    assert done.code == "CONCLUDED"
    assert done.conclusion is not None
    before = cache.everything()
    later_state, later_captured, later_expiry = ENDINGS[second]
    told = conclude(cache, place, later_state, later_captured, expires_at_ms=later_expiry)
    assert (told.code, told.conclusion) == ("CONCLUDED_BEFORE", Conclusion(state, captured, done.conclusion.position))
    assert cache.funds.conclusion(place) == told.conclusion
    assert cache.everything() == before


@pytest.mark.parametrize(
    ("state", "expires_at_ms", "code"),
    [
        (HoldState.CAPTURED, LONG_AGO_MS, "EXPIRED"),
        (HoldState.EXPIRED, FAR_FUTURE_MS, "NOT_DUE"),
        (HoldState.VOIDED, LONG_AGO_MS, "EXPIRED"),
        (HoldState.VOIDED, FAR_FUTURE_MS, "CONCLUDED"),
        (HoldState.EXPIRED, LONG_AGO_MS, "CONCLUDED"),
    ],
)
def test_the_caches_clock_decides_what_is_due(cache: Cache, state: HoldState, expires_at_ms: int, code: str) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache)
    before = cache.everything()
    reply = conclude(cache, place, state, expires_at_ms=expires_at_ms)
    assert reply.code == code
    assert (cache.everything() == before) is (code != "CONCLUDED")


def test_a_full_backlog_stops_captures_and_lets_releases_through(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100)
    one, other = authorized(cache, 10, "a"), authorized(cache, 10, "b")
    full = cache.limited_to(2)
    before = cache.everything()
    assert conclude(full, one, HoldState.CAPTURED, 10).code == "BACKLOGGED"
    assert cache.everything() == before
    assert conclude(full, one, HoldState.VOIDED).code == "CONCLUDED"
    assert conclude(full, other, HoldState.EXPIRED, expires_at_ms=LONG_AGO_MS).code == "CONCLUDED"


def test_what_is_cold_gone_or_stale_is_told_apart(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache)
    assert conclude(cache, PaymentPosition(0, "5-5"), HoldState.VOIDED).code == "GONE"
    cache.client.delete(keys.account(0, "alice"))
    assert conclude(cache, place, HoldState.VOIDED).code == "COLD"
    cache.funds.open(0, 2, "")
    made = ending(place, HoldState.VOIDED, 0)
    assert isinstance(cache.funds.conclude(place, made, HoldState.VOIDED, FAR_FUTURE_MS, 1), Stale)


def test_the_memory_of_a_conclusion_passes_and_the_hold_does_not_come_back(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache)
    conclude(cache, place, HoldState.VOIDED)
    name = keys.conclusion(0, place.position)
    assert 0 < int(cache.client.pttl(name)) <= WINDOW_MS  # type: ignore[arg-type]
    cache.client.delete(name)
    assert conclude(cache, place, HoldState.CAPTURED, 60).code == "GONE"


def test_the_largest_authorization_is_concluded_to_the_last_unit(cache: Cache) -> None:
    cache.with_wallet(balance_minor=MAX_MINOR)
    place = authorized(cache, MAX_MINOR)
    conclude(cache, place, HoldState.CAPTURED, MAX_MINOR - 1)
    assert cache.raw()["held"] == str(MAX_MINOR - 1)


@pytest.mark.parametrize(("awake", "wake"), [(True, False), (False, True)])
def test_a_conclusion_wakes_a_drain_when_nobody_drains(cache: Cache, awake: bool, wake: bool) -> None:
    cache.with_wallet(balance_minor=100)
    place = authorized(cache)
    cache.funds.settle(0, [], done=[place.position])
    if awake:
        cache.funds.mark_awake()
    assert conclude(cache, place, HoldState.VOIDED).wake is wake
