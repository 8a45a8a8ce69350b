"""inspect.lua and witness.lua, and the reads beside them."""

from app.domain.decisions import FundsState
from app.domain.partitions import PaymentPosition
from app.funds import keys
from tests.builders import intent, ledger_row, queued, wallet
from tests.funds.cache import Cache, settlement


def test_inspecting_shows_funds_and_holds_and_whether_their_intents_stand(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100, entry_count=4)
    stands, gone = cache.reserved(30, "a"), cache.reserved(20, "b")
    cache.client.xdel(keys.outbox(0), gone)
    [seen] = cache.funds.inspect(0, ["alice"])
    assert seen.account_id == "alice"
    assert seen.funds == FundsState(100, 50, 0, 6)
    assert seen.entry_count == 4
    assert seen.holds == {stands: (30, True), gone: (20, False)}


def test_cold_accounts_and_placeholders_are_left_out(cache: Cache) -> None:
    cache.hydrate(wallet("alice", 1), ledger_row("carol", -5))
    cache.funds.place_holder(["half"])
    cache.funds.settle(0, [settlement("half", 5)])
    assert [one.account_id for one in cache.funds.inspect(0, ["cold", "alice", "half", "carol"])] == ["alice", "carol"]


def test_a_witness_tells_what_is_not_held_as_it_should_be_and_has_not_settled(cache: Cache) -> None:
    cache.with_wallet(balance_minor=100).hydrate(ledger_row("bank", 0, normal_sign=1))
    for external_id in ("held", "missing", "changed", "settled"):
        cache.reserved(10, external_id)
    cache.reserve(intent("bank", "alice", 5, external_id="rising", hold_minor=0))
    held, missing, changed, settled, rising = cache.funds.outbox(0)
    cache.client.hset(keys.account(0, "alice"), changed.place.position, 4)
    cache.client.hdel(keys.account(0, "alice"), missing.place.position)
    cache.funds.settle(
        0, [settlement(balance_minor=90, posted=(settled.place.position,))], done=[settled.place.position]
    )
    everything = [held, missing, changed, settled, rising]
    assert cache.funds.witness(0, everything) == [(missing, 0), (changed, 4)]


def test_cached_accounts_are_found_each_once_even_with_colons_in_their_ids(cache: Cache) -> None:
    names = {"alice", "a:b:c", "{0}", "ü", *(f"w{n}" for n in range(1_200))}
    cache.hydrate(*(wallet(name, 1) for name in sorted(names)))
    cache.reserved(1, f"}}:{keys.ACCOUNT}:alice")  # its record looks like an account to the scan
    found = [account_id for _, batch in cache.funds.cached_accounts() for account_id in batch]
    assert sorted(found) == sorted(names)


def test_a_pending_payment_is_found_by_its_position_until_it_is_settled(cache: Cache) -> None:
    cache.with_wallet()
    position = cache.reserved(10, "x")
    place = PaymentPosition(0, position)
    assert cache.funds.pending(place) == cache.funds.outbox(0)[0]
    cache.funds.settle(0, [], done=[position])
    assert cache.funds.pending(place) is None
    assert cache.funds.pending(PaymentPosition(9, position)) is None


def test_the_outbox_is_read_in_pages(cache: Cache) -> None:
    cache.with_wallet()
    positions = [cache.reserved(1, f"x{n}") for n in range(7)]
    first = cache.funds.outbox(0, limit=3)
    second = cache.funds.outbox(0, first[-1].place.position, 3)
    assert [one.place.position for one in first + second] == positions[:6]
    assert cache.funds.backlog() == {0: 7}


def test_what_stands_nowhere_is_gone(cache: Cache) -> None:
    assert cache.funds.witness(0, [queued(1)]) == []
    assert cache.funds.record(0, "default", "unknown") is None
    assert cache.funds.balance("unknown") is None
    assert cache.funds.tallies() == {}
