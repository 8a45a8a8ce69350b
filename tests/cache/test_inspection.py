"""inspect.lua and witness.lua, and the other reads of a proof."""

from app.cache import keys
from app.domain.payment import OutboxPosition
from app.domain.reservations import Funds
from tests.builders import intent, ledger_row, queued, wallet
from tests.cache.world import CacheUnderTest, settlement


def test_inspecting_shows_funds_and_holds_and_whether_their_intents_are_queued(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100, entry_count=4)
    stands, gone = cache.reserved(30, "a"), cache.reserved(20, "b")
    cache.client.xdel(keys.outbox(0), gone)
    [seen] = cache.cache.inspection.inspect(0, ["alice"])
    assert seen.account_id == "alice"
    assert seen.funds == Funds(100, 50, 0, 6)
    assert seen.entry_count == 4
    assert seen.holds == {stands: (30, True), gone: (20, False)}


def test_cold_accounts_and_placeholders_are_left_out(cache: CacheUnderTest) -> None:
    cache.hydrate(wallet("alice", 1), ledger_row("carol", -5))
    cache.cache.accounts.set_placeholders(["half"])
    cache.cache.outbox.settle(0, [settlement("half", 5)])
    assert [one.account_id for one in cache.cache.inspection.inspect(0, ["cold", "alice", "half", "carol"])] == [
        "alice",
        "carol",
    ]


def test_a_witness_names_unsettled_intents_that_are_not_held_in_full(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100).hydrate(ledger_row("bank", 0, normal_sign=1))
    for external_id in ("held", "missing", "changed", "settled"):
        cache.reserved(10, external_id)
    cache.reserve(intent("bank", "alice", 5, external_id="rising", hold_minor=0))
    held, missing, changed, settled, rising = cache.cache.outbox.read(0)
    cache.client.hset(keys.account(0, "alice"), changed.outbox_position.stream_id, 4)
    cache.client.hdel(keys.account(0, "alice"), missing.outbox_position.stream_id)
    cache.cache.outbox.settle(
        0,
        [settlement(balance_minor=90, posted=(settled.outbox_position.stream_id,))],
        done=[settled.outbox_position.stream_id],
    )
    everything = [held, missing, changed, settled, rising]
    assert cache.cache.inspection.witness(0, everything) == [(missing, 0), (changed, 4)]


def test_cached_accounts_are_found_each_once_even_with_colons_in_their_ids(cache: CacheUnderTest) -> None:
    names = {"alice", "a:b:c", "{0}", "ü", *(f"w{n}" for n in range(1_200))}
    cache.hydrate(*(wallet(name, 1) for name in sorted(names)))
    cache.reserved(1, f"}}:{keys.ACCOUNT}:alice")  # its record looks like an account to the scan
    found = [account_id for _, batch in cache.cache.inspection.cached_accounts() for account_id in batch]
    assert sorted(found) == sorted(names)


def test_a_pending_payment_is_found_by_its_outbox_position_until_it_is_settled(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    stream_id = cache.reserved(10, "x")
    outbox_position = OutboxPosition(0, stream_id)
    assert cache.cache.outbox.pending(outbox_position) == cache.cache.outbox.read(0)[0]
    cache.cache.outbox.settle(0, [], done=[stream_id])
    assert cache.cache.outbox.pending(outbox_position) is None
    assert cache.cache.outbox.pending(OutboxPosition(9, stream_id)) is None


def test_the_outbox_is_read_in_pages(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    stream_ids = [cache.reserved(1, f"x{n}") for n in range(7)]
    first = cache.cache.outbox.read(0, limit=3)
    second = cache.cache.outbox.read(0, first[-1].outbox_position.stream_id, 3)
    assert [one.outbox_position.stream_id for one in first + second] == stream_ids[:6]
    assert cache.cache.outbox.backlog() == {0: 7}


def test_an_unknown_intent_record_account_or_tally_is_not_found(cache: CacheUnderTest) -> None:
    assert cache.cache.inspection.witness(0, [queued(1)]) == []
    assert cache.cache.reservations.record(0, "default", "unknown") is None
    assert cache.cache.accounts.balance("unknown") is None
    assert cache.cache.inspection.tallies() == {}
