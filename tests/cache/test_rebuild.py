"""rebuild.lua: an account is replaced in one step, or not at all."""

import pytest

from app.cache import keys
from app.domain.reservations import Funds, InspectedAccount
from tests import hot_state
from tests.builders import wallet
from tests.cache.world import CacheUnderTest, settlement

ALICE = keys.account(0, "alice")


def seen(cache: CacheUnderTest) -> InspectedAccount:
    [found] = cache.cache.inspection.inspect(0, ["alice"])
    return found


def test_an_account_becomes_what_the_ledger_says_whatever_the_cache_had(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    hot_state.put(cache.client, ALICE, balance=900, held=3, floor="-7", entry_count=99)
    assert cache.cache.accounts.rebuild(seen(cache), wallet("alice", 80, entry_count=3, floor_minor=-5), 4, {}, {})
    assert (cache.state().balance_minor, cache.state().held_minor, cache.state().floor_minor) == (80, 0, -5)
    assert (cache.raw()["entry_count"], cache.raw()["floor_as_of"]) == ("3", "4")


def test_pending_intents_are_held_and_unexplained_holds_are_dropped(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    first, second = cache.reserved(30, "a"), cache.reserved(20, "b")
    cache.client.hset(ALICE, mapping={"1-1": 40, second: 2})
    assert cache.cache.accounts.rebuild(seen(cache), wallet("alice", 100), 1, {"2-2": 5}, {second: 20, "3-3": 9})
    assert cache.holds() == {first: 30, second: 20, "2-2": 5}
    assert cache.state().held_minor == 55


@pytest.mark.parametrize("event", ["a payment", "a settle"])
def test_an_account_that_has_changed_since_its_inspection_is_left_alone(cache: CacheUnderTest, event: str) -> None:
    cache.with_wallet(balance_minor=100)
    before = seen(cache)
    if event == "a payment":
        cache.reserved(30, "a")
    else:
        cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=9)])
    state = cache.everything()
    assert not cache.cache.accounts.rebuild(before, wallet("alice", 100), 1, {}, {})
    assert cache.everything() == state


def test_the_version_rises_so_that_nobody_spends_on_wrong_funds(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    before = cache.state().version
    assert cache.cache.accounts.rebuild(seen(cache), wallet("alice", 100), 1, {}, {})
    assert cache.state().version > before


def test_a_cold_account_stays_cold_and_gets_the_holds_of_its_intents(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(30, "a")
    hot_state.lose_funds(cache.client, ALICE)
    cache.client.hdel(ALICE, stream_id)
    assert cache.cache.accounts.rebuild(None, wallet("alice", 100), 1, {}, {stream_id: 30, "9-9": 1})
    assert cache.holds() == {stream_id: 30}
    assert cache.cache.accounts.balance("alice") is None
    [cached] = cache.hydrate(wallet("alice", 100, entry_count=3))
    assert cached.funds.available_minor == 70


def test_an_account_that_is_warm_again_is_no_longer_the_one_that_was_seen_cold(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    assert not cache.cache.accounts.rebuild(None, wallet("alice", 100), 1, {}, {})
    assert cache.state() == Funds(100, 0, 0, cache.state().version)


def test_an_account_that_only_the_cache_knows_can_be_forgotten(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.cache.accounts.forget("alice")
    assert not cache.client.exists(ALICE)
