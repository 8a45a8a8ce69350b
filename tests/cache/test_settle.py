"""settle.lua: state-based, so that settling twice, late or out of order is harmless."""

from itertools import permutations

import pytest
import redis

from app.cache import keys
from app.cache.notifications import decode_notices
from app.cache.outbox import SETTLE_ACCOUNTS_PER_CALL
from app.domain.money import MAX_MINOR
from app.domain.reservations import Funds
from app.domain.settlement import AccountSettlement, Notice, PartitionSettlement
from tests.builders import NOON_MS, intent, ledger_row, wallet
from tests.cache.world import CacheUnderTest, settlement
from tests.patience import PATIENCE_S


def test_a_settled_payment_is_an_entry_and_no_longer_a_hold(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(30, "a")
    cache.cache.outbox.settle(0, [settlement(balance_minor=70, posted=(stream_id,))], done_up_to=stream_id)
    assert cache.state() == Funds(70, 0, 0, 1)
    assert (cache.holds(), cache.outbox()) == ({}, [])
    assert cache.raw()["entry_count"] == "1"
    assert cache.raw()["changed_at"] == str(NOON_MS + 1)


def test_settling_twice_is_settling_once(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(30, "a")
    cache.reserved(20, "b")
    once = settlement(balance_minor=70, posted=(stream_id,))
    cache.cache.outbox.settle(0, [once], done_up_to=stream_id)
    after = cache.everything()
    cache.cache.outbox.settle(0, [once], done_up_to=stream_id)
    assert cache.everything() == after
    assert cache.state() == Funds(70, 20, 0, 2)


def test_the_order_in_which_settlements_arrive_does_not_matter(cache: CacheUnderTest) -> None:
    outcomes = []
    for order in permutations(range(3)):
        cache.client.flushdb()
        cache.opened().with_wallet(balance_minor=100)
        stream_ids = [cache.reserved(10, f"x{n}") for n in range(3)]
        steps = [settlement(balance_minor=90 - 10 * n, entry_count=n + 1, posted=(stream_ids[n],)) for n in range(3)]
        for n in order:
            cache.cache.outbox.settle(0, [steps[n]], done=[stream_ids[n]])
        state = cache.state()
        outcomes.append((state.balance_minor, state.held_minor, cache.holds(), cache.outbox()))
    assert outcomes == [(70, 0, {}, [])] * 6


def test_an_older_balance_never_replaces_a_newer_one(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100, entry_count=5)
    for older in (4, 5):
        cache.cache.outbox.settle(0, [settlement(balance_minor=999, entry_count=older)])
        assert (cache.state().balance_minor, cache.raw()["entry_count"]) == (100, "5")
    cache.cache.outbox.settle(0, [settlement(balance_minor=999, entry_count=6)])
    assert (cache.state().balance_minor, cache.raw()["entry_count"]) == (999, "6")


def test_a_released_hold_is_free_again_without_an_entry(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(30, "a")
    cache.cache.outbox.settle(
        0, [settlement(balance_minor=100, entry_count=0, released=(stream_id,))], done=[stream_id]
    )
    assert cache.state() == Funds(100, 0, 0, 2)  # reserving and releasing both change the funds
    assert cache.outbox() == []


# The version counts changes of the funds: a posted hold changed them when it was reserved, a credit does when it posts.
VERSIONS = [
    ("a posted hold", 1, 1, 0, 1, 1),
    ("two posted holds", 2, 2, 0, 2, 2),
    ("a credit beside", 0, 0, 0, 1, 1),
    ("a posted hold and a credit", 1, 1, 0, 2, 2),
    ("a hold posted, another stays", 2, 1, 0, 1, 2),
    ("a release", 1, 0, 1, 0, 2),
    ("a post and a release", 2, 1, 1, 1, 3),
]


@pytest.mark.parametrize(
    ("reserves", "posted", "released", "entries", "version"), [v[1:] for v in VERSIONS], ids=[v[0] for v in VERSIONS]
)
def test_the_version_counts_each_change_of_the_funds_once(
    cache: CacheUnderTest, reserves: int, posted: int, released: int, entries: int, version: int
) -> None:
    cache.with_wallet(balance_minor=100)
    stream_ids = [cache.reserved(10, f"x{n}") for n in range(reserves)]
    told = settlement(
        balance_minor=50,
        entry_count=entries,
        version=0,
        posted=tuple(stream_ids[:posted]),
        released=tuple(stream_ids[posted : posted + released]),
    )
    cache.cache.outbox.settle(0, [told])
    assert cache.state().version == version
    cache.cache.outbox.settle(0, [told])
    assert cache.state().version == version


def test_the_version_is_never_lower_than_the_ledgers(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.cache.outbox.settle(0, [settlement(balance_minor=1, entry_count=1, version=40)])
    assert cache.state().version == 40
    cache.cache.outbox.settle(0, [settlement(balance_minor=2, entry_count=2, version=2)])
    assert cache.state().version == 41


def test_a_cold_account_stays_cold(cache: CacheUnderTest) -> None:
    cache.cache.outbox.settle(0, [settlement("nobody", 100)])
    assert cache.raw("nobody") == {}
    assert cache.cache.accounts.balance("nobody") is None


def test_a_placeholder_remembers_the_settle_and_stays_cold_until_hydrated(cache: CacheUnderTest) -> None:
    cache.cache.accounts.set_placeholders(["alice"])
    assert cache.raw() == {"entry_count": "-1"}
    cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=3)])
    assert cache.raw() == {"entry_count": "3", "settled_version": "3"}
    assert cache.cache.accounts.balance("alice") is None
    assert cache.codes(intent()) == ["COLD"]


def test_a_placeholder_of_an_account_without_entries_remembers_entry_zero(cache: CacheUnderTest) -> None:
    cache.cache.accounts.set_placeholders(["alice"])
    cache.cache.outbox.settle(0, [settlement(balance_minor=0, entry_count=0)])
    assert cache.raw() == {"entry_count": "0", "settled_version": "0"}


def test_a_placeholder_remembers_a_settle_that_only_concluded_authorizations(cache: CacheUnderTest) -> None:
    cache.cache.accounts.set_placeholders(["alice"])
    for version in (7, 9, 8):
        cache.cache.outbox.settle(0, [settlement(balance_minor=70, entry_count=3, version=version)])
    assert cache.raw() == {"entry_count": "3", "settled_version": "9"}
    assert cache.cache.accounts.hydrate([wallet("alice", 70, entry_count=3)], 1) == [None]


@pytest.mark.parametrize("balance", [MAX_MINOR, -MAX_MINOR, MAX_MINOR - 1])
def test_balances_at_the_edge_are_assigned_to_the_last_unit(cache: CacheUnderTest, balance: int) -> None:
    cache.hydrate(ledger_row("alice", 0))
    cache.cache.outbox.settle(0, [settlement(balance_minor=balance)])
    assert cache.raw()["balance"] == str(balance)


def test_the_largest_hold_is_freed_to_the_last_unit(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=MAX_MINOR)
    most, one = cache.reserved(MAX_MINOR - 1, "most"), cache.reserved(1, "one")
    cache.cache.outbox.settle(0, [settlement(balance_minor=1, posted=(most,))])
    assert cache.raw()["held"] == "1"
    cache.cache.outbox.settle(0, [settlement(balance_minor=0, entry_count=2, posted=(one,))])
    assert cache.raw()["held"] == "0"


@pytest.mark.parametrize("outcome", ["X5-1", "Dpay_0_5_1"])
def test_a_rewritten_record_keeps_its_fingerprint_and_its_expiry(cache: CacheUnderTest, outcome: str) -> None:
    cache.with_wallet()
    cache.reserved(10, "x")
    name = keys.record(0, "default", "x")
    cache.client.pexpire(name, 60_000)
    cache.cache.outbox.settle(0, [], records={("default", "x"): outcome})
    assert cache.client.get(name) == f"{intent(amount_minor=10, external_id='x').fingerprint}{outcome}"
    assert 0 < int(cache.client.pttl(name)) <= 60_000  # type: ignore[arg-type]
    assert cache.codes(intent(amount_minor=10, external_id="x")) == ["REPLAYED"]


def test_a_record_that_has_expired_is_not_brought_back(cache: CacheUnderTest) -> None:
    cache.cache.outbox.settle(0, [], records={("default", "gone"): "X5-1"})
    assert cache.client.exists(keys.record(0, "default", "gone")) == 0


def test_trimming_removes_everything_up_to_a_stream_id_and_nothing_after_it(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    stream_ids = [cache.reserved(1, f"x{n}") for n in range(5)]
    cache.cache.outbox.settle(0, [], done_up_to=stream_ids[2])
    assert cache.outbox() == stream_ids[3:]
    cache.cache.outbox.settle(0, [], done_up_to=stream_ids[1])
    assert cache.outbox() == stream_ids[3:]


def test_listed_stream_ids_are_removed_and_those_between_stay(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    stream_ids = [cache.reserved(1, f"x{n}") for n in range(5)]
    cache.cache.outbox.settle(0, [], done=[stream_ids[1], stream_ids[3]])
    assert cache.outbox() == [stream_ids[0], stream_ids[2], stream_ids[4]]


def test_a_settle_that_names_no_intents_trims_nothing(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    stream_id = cache.reserved(1, "x")
    cache.cache.outbox.settle(0, [settlement(balance_minor=99, posted=(stream_id,))])
    assert cache.outbox() == [stream_id]


def test_a_batch_larger_than_a_call_is_settled_whole_and_trimmed_last(cache: CacheUnderTest) -> None:
    number = SETTLE_ACCOUNTS_PER_CALL + 3
    cache.hydrate(*(wallet(f"w{n}", 100) for n in range(number)))
    told: list[AccountSettlement] = []
    for n in range(number):
        stream_id = cache.reserved(10, f"x{n}", source=f"w{n}")
        told.append(settlement(f"w{n}", 90, posted=(stream_id,)))
    cache.cache.outbox.settle(0, told, done_up_to=told[-1].posted[0])
    assert all(cache.state(f"w{n}") == Funds(90, 0, 0, 1) for n in range(number))
    assert cache.outbox() == []


def two_partitions(cache: CacheUnderTest) -> tuple[CacheUnderTest, str]:
    """A cache of two partitions, and an intent in the outbox of partition 1."""
    two = CacheUnderTest(cache.client, partitions=2).opened()
    return two, str(two.client.xadd(keys.outbox(1), {"intent": "{}"}))


def test_nothing_is_trimmed_when_a_settle_of_another_partition_failed(cache: CacheUnderTest) -> None:
    two, stream_id = two_partitions(cache)
    two.client.set(keys.account(0, "broken"), "not a hash")
    trimming = PartitionSettlement(1, [settlement("w", 1)], done_up_to=stream_id)
    with pytest.raises(redis.ResponseError):
        two.cache.outbox.settle_all([trimming, PartitionSettlement(0, [settlement("broken", 1)])])
    assert two.client.xlen(keys.outbox(1)) == 1


def test_nothing_is_trimmed_when_an_earlier_call_of_the_same_partition_failed(cache: CacheUnderTest) -> None:
    two, stream_id = two_partitions(cache)
    two.client.set(keys.account(1, "broken"), "not a hash")
    many = [settlement("broken", 1), *(settlement(f"w{n}", 1) for n in range(SETTLE_ACCOUNTS_PER_CALL))]
    with pytest.raises(redis.ResponseError):
        two.cache.outbox.settle_all([PartitionSettlement(1, many, done=[stream_id])])
    assert two.client.xlen(keys.outbox(1)) == 1


def test_an_account_with_thousands_of_holds_is_settled_in_one_call(cache: CacheUnderTest) -> None:
    cache = cache.limited_to(10_000).with_wallet(balance_minor=3_000)
    batch = [intent(amount_minor=1, external_id=f"x{n}") for n in range(2_500)]
    stream_ids = [decision.stream_id or "" for decision in cache.reserve(*batch)]
    told = settlement(
        balance_minor=500, entry_count=2_400, posted=tuple(stream_ids[:2_400]), released=tuple(stream_ids[2_400:])
    )
    cache.cache.outbox.settle(0, [told], done_up_to=stream_ids[-1])
    assert cache.state() == Funds(500, 0, 0, 2_600)
    assert cache.holds() == {}


def test_waiters_receive_the_answered_stream_ids(cache: CacheUnderTest) -> None:
    notice = Notice(0, up_to="5-1", done=["6-0"], refused=["4-0"])
    with cache.client.pubsub() as listener:
        listener.subscribe(keys.SETTLED_CHANNEL)
        assert listener.get_message(timeout=PATIENCE_S)["type"] == "subscribe"
        cache.cache.outbox.settle(0, [], notice=notice)
        cache.cache.outbox.settle(0, [])  # without a notice nothing is said
        cache.cache.outbox.announce(Notice(0, exhausted=["9-9"]))
        received = [decode_notices(listener.get_message(timeout=PATIENCE_S)["data"]) for _ in range(2)]
    assert received == [[notice], [Notice(0, exhausted=["9-9"])]]


def test_waiters_of_several_partitions_receive_one_message(cache: CacheUnderTest) -> None:
    notices = [Notice(partition, up_to="5-1") for partition in range(3)]
    trims = [PartitionSettlement(one.partition, [], done_up_to="5-1", notice=one) for one in notices]
    with cache.client.pubsub() as listener:
        listener.subscribe(keys.SETTLED_CHANNEL)
        assert listener.get_message(timeout=PATIENCE_S)["type"] == "subscribe"
        cache.cache.outbox.settle_all([*trims, PartitionSettlement(3, [])])
        assert decode_notices(listener.get_message(timeout=PATIENCE_S)["data"]) == notices
        assert listener.get_message(timeout=0.1) is None
