"""hydrate.lua and open.lua: bringing state from the ledger into the cache, whatever happens meanwhile."""

from dataclasses import replace

import pytest

from app.cache import keys
from app.domain.money import MAX_MINOR
from app.domain.reservations import Funds
from tests import hot_state
from tests.builders import NOON_MS, intent, ledger_row, wallet
from tests.cache.world import CacheUnderTest, settlement


def test_a_cold_account_becomes_what_the_ledger_says(cache: CacheUnderTest) -> None:
    [cached] = cache.hydrate(wallet("alice", 100, entry_count=7, floor_minor=-50))
    assert cached.funds == Funds(100, 0, -50, 7)
    assert cached.entry_count == 7
    assert cached == cache.cache.accounts.balance("alice")
    assert cache.raw()["changed_at"] == str(NOON_MS)


@pytest.mark.parametrize("balance", [MAX_MINOR, -MAX_MINOR, 0])
@pytest.mark.parametrize("floor", [None, -MAX_MINOR, MAX_MINOR])
def test_the_edges_of_the_range_are_hydrated_to_the_last_unit(
    cache: CacheUnderTest, balance: int, floor: int | None
) -> None:
    [cached] = cache.hydrate(ledger_row("alice", balance, floor_minor=floor))
    assert cached.funds == Funds(balance, 0, floor, 0)


def test_hydrating_twice_changes_nothing(cache: CacheUnderTest) -> None:
    row = wallet("alice", 100, entry_count=3)
    cache.hydrate(row)
    cache.reserved(30, "a")
    before = cache.everything()
    cache.hydrate(row)
    assert cache.everything() == before


def test_hydrating_with_an_older_row_changes_nothing(cache: CacheUnderTest) -> None:
    old = wallet("alice", 100, entry_count=3)
    cache.hydrate(old)
    cache.cache.outbox.settle(0, [settlement(balance_minor=60, entry_count=5)])
    before = cache.everything()
    cache.hydrate(old)
    assert cache.everything() == before


def test_hydrating_with_a_newer_row_assigns_the_balance_and_keeps_the_holds(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(30, "a")
    [cached] = cache.hydrate(wallet("alice", 500, entry_count=2))
    assert cached.funds == Funds(500, 30, 0, 2)
    assert cache.holds() == {stream_id: 30}


def test_a_settle_between_reading_and_hydrating_makes_the_row_too_old(cache: CacheUnderTest) -> None:
    cache.cache.accounts.set_placeholders(["alice"])
    read_before = wallet("alice", 100, entry_count=3)
    cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=4)])
    before = cache.everything()
    assert cache.cache.accounts.hydrate([read_before], 1) == [None]
    assert cache.everything() == before
    [cached] = cache.cache.accounts.hydrate([wallet("alice", 70, entry_count=4)], 1)
    assert cached is not None
    assert (cached.funds, cached.entry_count) == (Funds(70, 0, 0, 4), 4)


def test_open_authorizations_come_back_with_a_cold_account_and_only_then(cache: CacheUnderTest) -> None:
    row = wallet("alice", 100, entry_count=3)
    [cached] = cache.cache.accounts.hydrate([row], 1, {"alice": {"5-1": 30, "6-0": 20}})
    assert cached is not None
    assert cached.funds.held_minor == 50
    assert cache.holds() == {"5-1": 30, "6-0": 20}
    cache.cache.outbox.settle(0, [settlement(balance_minor=100, entry_count=3, released=("5-1",))])
    [again] = cache.cache.accounts.hydrate([row], 1, {"alice": {"5-1": 30, "6-0": 20}})
    assert again is not None
    assert (again.funds.held_minor, cache.holds()) == (20, {"6-0": 20})


def test_a_settle_after_hydrating_wins(cache: CacheUnderTest) -> None:
    cache.hydrate(wallet("alice", 100, entry_count=3))
    cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=4)])
    assert (cache.state().balance_minor, cache.raw()["entry_count"]) == (70, "4")


def test_without_a_placeholder_the_settle_would_be_lost(cache: CacheUnderTest) -> None:
    """The placeholder exists to prevent this lost update."""
    read_before = wallet("alice", 100, entry_count=3)
    cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=4)])
    [cached] = cache.cache.accounts.hydrate([read_before], 1)
    assert cached is not None
    assert cached.entry_count == 3


def test_a_placeholder_never_replaces_an_account(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    before = cache.everything()
    cache.cache.accounts.set_placeholders(["alice"])
    assert cache.everything() == before


def test_an_account_that_lost_its_funds_counts_the_holds_that_are_left(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.reserved(30, "a")
    cache.reserved(20, "b")
    hot_state.lose_funds(cache.client, keys.account(0, "alice"))
    [cached] = cache.hydrate(wallet("alice", 100))
    assert cached.funds.held_minor == 50


@pytest.mark.parametrize(
    ("first", "second", "floor"),
    [(5, 5, -200), (5, 6, -200), (5, 4, -100)],
)
def test_a_floor_is_taken_unless_the_cache_knows_a_newer_directory(
    cache: CacheUnderTest, first: int, second: int, floor: int
) -> None:
    row = wallet("alice", 100, floor_minor=-100)
    cache.hydrate(row, directory_version=first)
    [cached] = cache.hydrate(replace(row, floor_minor=-200), directory_version=second)
    assert cached.funds.floor_minor == floor


def test_a_floor_can_be_removed_and_set_again(cache: CacheUnderTest) -> None:
    row = wallet("alice", 100)
    cache.hydrate(row, directory_version=1)
    [without] = cache.hydrate(replace(row, floor_minor=None), directory_version=2)
    [again] = cache.hydrate(replace(row, floor_minor=0), directory_version=3)
    assert (without.funds.floor_minor, again.funds.floor_minor) == (None, 0)


# open.lua


def test_opening_stores_the_directory_version_and_never_an_older_one(cache: CacheUnderTest) -> None:
    assert cache.cache.partition_states.open(0, 5, "") == 5
    assert cache.cache.partition_states.open(0, 4, "") == 5
    assert cache.cache.partition_states.open(0, 5, "") == 5
    assert cache.cache.partition_states.open(0, 6, "") == 6


FAR = f"{NOON_MS * 2}"


@pytest.mark.parametrize("last_posted", [f"{FAR}-0", f"{FAR}-9", f"{FAR}-18"])
def test_after_the_loss_of_the_cache_new_stream_ids_follow_the_ledgers_last(
    cache: CacheUnderTest, last_posted: str
) -> None:
    cache.cache.partition_states.open(0, 1, last_posted)
    assert cache.outbox() == []
    cache.with_wallet()
    milliseconds, sequence = cache.reserved(1, "x").split("-")
    last_milliseconds, last_sequence = last_posted.split("-")
    assert (int(milliseconds), int(sequence)) == (int(last_milliseconds), int(last_sequence) + 1)


def test_opening_again_does_not_set_the_stream_back(cache: CacheUnderTest) -> None:
    cache.cache.partition_states.open(0, 1, f"{FAR}-9")
    cache.with_wallet()
    first = cache.reserved(1, "x")
    cache.cache.partition_states.open(0, 1, f"{FAR}-9")
    cache.cache.partition_states.open(0, 1, "5-5")
    second = cache.reserved(1, "y")
    assert (first, second) == (f"{FAR}-10", f"{FAR}-11")
    assert cache.outbox() == [first, second]


def test_sequence_numbers_are_compared_as_numbers(cache: CacheUnderTest) -> None:
    cache.cache.partition_states.open(0, 1, f"{FAR}-9")
    cache.cache.partition_states.open(0, 1, f"{FAR}-10")
    cache.with_wallet()
    assert cache.reserved(1, "x") == f"{FAR}-11"


def test_an_emptied_outbox_remembers_its_last_stream_id(cache: CacheUnderTest) -> None:
    cache.cache.partition_states.open(0, 1, f"{FAR}-9")
    cache.with_wallet()
    stream_id = cache.reserved(1, "x")
    cache.cache.outbox.settle(0, [], done_up_to=stream_id)
    cache.cache.partition_states.open(0, 1, f"{FAR}-9")
    assert cache.reserved(1, "y") == f"{FAR}-11"


def test_a_partition_is_ready_once_it_is_opened(cache: CacheUnderTest) -> None:
    cache.client.flushdb()
    cache.cache.partition_states.open(0, 1, "")
    cache.with_wallet()
    assert cache.codes(intent()) == ["RESERVED"]
