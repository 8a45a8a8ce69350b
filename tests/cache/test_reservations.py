"""reserve.lua: every outcome, their order, and the edges of the range."""

from typing import Any

import pytest

from app.cache import keys
from app.domain.authorizations import AuthorizationState
from app.domain.money import MAX_MINOR
from app.domain.payment import Kind, OutboxPosition
from app.domain.reservations import Failed, Funds, RecordState, ReserveItem, ReserveReply, Stale
from app.domain.timestamps import to_milliseconds
from app.services.payments.batches import LARGEST_BATCH
from tests import hot_state
from tests.builders import NOON_MS, WINDOW_MS, account_in, intent, ledger_row, wallet
from tests.cache.world import CacheUnderTest, settlement


def test_an_accepted_payment_is_held_recorded_and_queued_by_one_call(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    [decision] = cache.reserve(intent(amount_minor=30, external_id="a"))

    assert decision.code == "RESERVED"
    assert decision.version == 1  # after the decision
    assert cache.state() == Funds(100, 30, 0, 1)
    assert cache.holds() == {decision.stream_id: 30}
    [queued] = cache.cache.outbox.read(0)
    assert queued.outbox_position.stream_id == decision.stream_id
    assert queued.intent == intent(amount_minor=30, external_id="a")
    record = cache.cache.reservations.record(0, "default", "a")
    assert record is not None
    assert (record.state, record.stream_id, record.version) == (RecordState.ACCEPTED, decision.stream_id, 1)
    assert cache.raw()["changed_at"] == decision.stream_id
    cached = cache.cache.accounts.balance("alice")
    assert cached is not None
    assert to_milliseconds(cached.updated_at) == OutboxPosition(0, decision.stream_id or "").stamped_ms


def test_an_intent_comes_back_as_it_went_in(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    sent = intent(metadata={"ü": [1.5, None, {"deep": "☃"}]}, description="Zürich | 'quoted' \\ \"", kind="payment")
    cache.reserve(sent)
    assert cache.cache.outbox.read(0)[0].intent == sent


# Each line meets the condition of its outcome and of every one after it; the first must win.
def _record_same(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))
    cache.with_wallet(balance_minor=1_000)
    cache.reserve(intent(amount_minor=100, external_id="x"))


def _record_other(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))
    cache.with_wallet(balance_minor=1_000)
    cache.reserve(intent(amount_minor=7, external_id="x"))


def _cold(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))


def _poor(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))
    cache.with_wallet(balance_minor=99)


def _at_the_bottom(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))
    cache.hydrate(ledger_row("alice", -MAX_MINOR))


def _rich(cache: CacheUnderTest) -> None:
    cache.client.delete(keys.account(0, "alice"))
    cache.with_wallet(balance_minor=100)


WRONG_VERSION, RIGHT_VERSION = 77, 0
PRECEDENCE: list[tuple[str, Any, Any, int | None]] = [
    ("REPLAYED", _record_same, _cold, WRONG_VERSION),
    ("REUSED", _record_other, _cold, WRONG_VERSION),
    ("COLD", None, _cold, WRONG_VERSION),
    ("VERSION_CONFLICT", None, _poor, WRONG_VERSION),
    ("INSUFFICIENT_FUNDS", None, _poor, RIGHT_VERSION),
    ("BALANCE_OUT_OF_RANGE", None, _at_the_bottom, RIGHT_VERSION),
    ("BACKLOGGED", None, _rich, RIGHT_VERSION),
]


@pytest.mark.parametrize(("code", "history", "account", "version"), PRECEDENCE, ids=[line[0] for line in PRECEDENCE])
def test_only_the_first_outcome_that_applies_is_given(
    cache: CacheUnderTest, code: str, history: Any, account: Any, version: int | None
) -> None:
    if history:
        history(cache)
    account(cache)
    backlogged = cache.limited_to(0)
    decisions = backlogged.reserve(ReserveItem(intent(amount_minor=100, external_id="x"), version))
    assert [decision.code.value for decision in decisions] == [code]


REFUSALS = [line for line in PRECEDENCE if line[0] not in ("INSUFFICIENT_FUNDS",)]


@pytest.mark.parametrize(("code", "history", "account", "version"), REFUSALS, ids=[line[0] for line in REFUSALS])
def test_a_refused_payment_changes_nothing(
    cache: CacheUnderTest, code: str, history: Any, account: Any, version: int | None
) -> None:
    if history:
        history(cache)
    account(cache)
    claim = keys.claim(0, "default", "x")
    cache.client.set(claim, "0")
    before = cache.everything()
    cache.limited_to(0).reserve(ReserveItem(intent(amount_minor=100, external_id="x"), version))
    assert cache.everything() == before


def test_a_stale_call_is_refused_as_a_whole_before_anything_else(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    cache.reserve(intent(external_id="x"))
    cache.cache.partition_states.open(0, 2, "")
    cache.client.set(keys.claim(0, "default", "x"), "0")
    before = cache.everything()
    assert isinstance(cache.try_reserve(intent(external_id="x"), directory_version=1), Stale)
    assert cache.everything() == before


@pytest.mark.parametrize("version", [2, 3])
def test_a_caller_with_the_current_or_a_newer_directory_is_served(cache: CacheUnderTest, version: int) -> None:
    cache.cache.partition_states.open(0, 2, "")
    cache.with_wallet()
    assert not isinstance(cache.try_reserve(intent(), directory_version=version), Stale)


def test_a_partition_that_was_never_opened_answers_stale(cache: CacheUnderTest) -> None:
    cache.client.flushdb()
    assert isinstance(cache.try_reserve(intent()), Stale)


# Replays


def test_a_repeat_is_answered_with_the_record_and_moves_nothing(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    [first] = cache.reserve(intent(amount_minor=60, external_id="x"))
    [again] = cache.reserve(intent(amount_minor=60, external_id="x"))
    assert again.code == "REPLAYED"
    assert again.record is not None
    assert (again.record.stream_id, again.record.version) == (first.stream_id, first.version)
    assert cache.state().held_minor == 60
    assert len(cache.outbox()) == 1


def test_a_repeat_answers_even_when_the_funds_are_gone(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    assert cache.codes(intent(amount_minor=100, external_id="x")) == ["RESERVED"]
    assert cache.codes(intent(amount_minor=100, external_id="x")) == ["REPLAYED"]


def test_a_refusal_for_lack_of_funds_stays_even_after_funds_arrived(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=10)
    [refused] = cache.reserve(intent(amount_minor=11, external_id="x"))
    assert (refused.code, refused.funds) == ("INSUFFICIENT_FUNDS", Funds(10, 0, 0, 0))
    cache.cache.outbox.settle(0, [settlement(balance_minor=1_000)])

    [again] = cache.reserve(intent(amount_minor=11, external_id="x"))
    assert again.code == "REPLAYED"
    assert again.record is not None
    assert (again.record.state, again.record.funds) == (RecordState.REFUSED, Funds(10, 0, 0, 0))
    assert cache.codes(intent(amount_minor=11, external_id="a new one")) == ["RESERVED"]


@pytest.mark.parametrize(
    ("code", "prepare", "limit", "version"),
    [
        ("VERSION_CONFLICT", _rich, 9, 77),
        ("BACKLOGGED", _rich, 0, None),
        ("BALANCE_OUT_OF_RANGE", _at_the_bottom, 9, None),
    ],
)
def test_a_temporary_refusal_is_not_recorded(
    cache: CacheUnderTest, code: str, prepare: Any, limit: int, version: int | None
) -> None:
    prepare(cache)
    refused = cache.limited_to(limit).reserve(ReserveItem(intent(external_id="x"), version))
    assert [one.code.value for one in refused] == [code]
    _rich(cache)
    assert cache.codes(intent(external_id="x")) == ["RESERVED"]


def test_the_same_external_id_with_other_content_is_refused_as_reused(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    cache.reserve(intent(amount_minor=1, external_id="x"))
    [reused] = cache.reserve(intent(amount_minor=2, external_id="x"))
    assert reused.code == "REUSED"
    assert reused.record is not None
    assert reused.record.fingerprint == intent(amount_minor=1, external_id="x").fingerprint


def test_a_repeat_within_a_batch_is_a_repeat(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    decisions = cache.reserve(
        intent(amount_minor=60, external_id="x"),
        intent(amount_minor=60, external_id="x"),
        intent(amount_minor=61, external_id="x"),
        intent(amount_minor=101, external_id="y"),
        intent(amount_minor=101, external_id="y"),
        intent(amount_minor=40, external_id="z"),
    )
    assert [one.code.value for one in decisions] == [
        "RESERVED", "REPLAYED", "REUSED", "INSUFFICIENT_FUNDS", "REPLAYED", "RESERVED",
    ]  # fmt: skip
    assert decisions[1].record is not None
    assert decisions[1].record.stream_id == decisions[0].stream_id
    assert decisions[4].record is not None
    assert decisions[4].record.state is RecordState.REFUSED
    assert cache.state() == Funds(100, 100, 0, 2)
    assert len(cache.outbox()) == 2


def test_a_refusal_that_holds_explain_is_decided_anew_and_not_recorded(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    held = cache.reserved(60, "held")
    refused = cache.reserve(intent(amount_minor=41, external_id="x"), intent(amount_minor=41, external_id="x"))
    assert [one.code.value for one in refused] == ["INSUFFICIENT_FUNDS"] * 2
    assert refused[0].funds == Funds(100, 60, 0, 1)
    assert cache.cache.reservations.record(0, "default", "x") is None
    cache.cache.outbox.settle(0, [settlement(balance_minor=100, released=(held,))], done=[held])
    [accepted] = cache.reserve(intent(amount_minor=41, external_id="x"))
    assert accepted.code.value == "RESERVED"


def test_a_batch_is_decided_in_its_order_on_running_funds(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100).with_wallet("carol", 50)
    decisions = cache.reserve(
        intent(amount_minor=70, external_id="a"),
        intent(amount_minor=70, external_id="b"),
        intent("carol", "bob", 50, external_id="c"),
        intent(amount_minor=30, external_id="d"),
        intent("nobody", "bob", 1, external_id="e"),
    )
    assert [one.code.value for one in decisions] == ["RESERVED", "INSUFFICIENT_FUNDS", "RESERVED", "RESERVED", "COLD"]
    assert [queued.intent.external_id for queued in cache.cache.outbox.read(0)] == ["a", "c", "d"]
    assert (cache.state().held_minor, cache.state("carol").held_minor) == (100, 50)


def test_several_payments_of_one_account_in_a_call_leave_a_hold_each_and_the_state_of_the_last(
    cache: CacheUnderTest,
) -> None:
    cache.with_wallet(balance_minor=100)
    decisions = cache.reserve(
        intent(amount_minor=50, external_id="a"),
        intent(amount_minor=7, hold_minor=0, external_id="rising"),
        intent(amount_minor=20, external_id="b"),
        intent(amount_minor=101, external_id="refused"),
    )
    assert [one.code.value for one in decisions] == ["RESERVED", "RESERVED", "RESERVED", "INSUFFICIENT_FUNDS"]
    assert [one.version for one in decisions[:3]] == [1, 2, 3]
    assert decisions[3].funds == Funds(100, 70, 0, 3)
    assert cache.state() == Funds(100, 70, 0, 3)
    assert cache.holds() == {decisions[0].stream_id: 50, decisions[2].stream_id: 20}
    assert cache.raw()["changed_at"] == decisions[2].stream_id
    assert [
        cache.cache.reservations.record(0, "default", name) is not None for name in ("a", "rising", "b", "refused")
    ] == [True] * 4


def test_a_state_whose_last_payment_holds_nothing_is_written_too(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.reserve(intent(amount_minor=50, external_id="a"), intent(amount_minor=7, hold_minor=0, external_id="rising"))
    assert cache.state() == Funds(100, 50, 0, 2)


def test_the_largest_batch_is_decided_by_one_call(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=LARGEST_BATCH - 1)
    items = [ReserveItem(intent(amount_minor=1, external_id=f"x{n}")) for n in range(LARGEST_BATCH)]
    roomy = cache.limited_to(LARGEST_BATCH)
    [reply] = roomy.cache.reservations.reserve_unclaimed([(0, items)], 1, dry_run=True)
    assert isinstance(reply, ReserveReply)
    assert [one.code.value for one in reply.decisions] == ["RESERVED"] * (LARGEST_BATCH - 1) + ["INSUFFICIENT_FUNDS"]


def test_a_dry_run_answers_the_funds_that_each_payment_would_leave(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    sent = [intent(amount_minor=60, external_id="x"), intent(amount_minor=60, external_id="x"), intent(amount_minor=40)]
    [reply] = cache.cache.reservations.reserve_unclaimed([(0, [ReserveItem(one) for one in sent])], 1, dry_run=True)
    assert isinstance(reply, ReserveReply)
    first, again, last = reply.decisions
    assert (first.stream_id, first.version, first.funds) == ("", 1, Funds(100, 60, 0, 1))
    assert again.record is not None
    assert (again.record.stream_id, again.record.funds) == ("", Funds(100, 60, 0, 1))
    assert last.funds == Funds(100, 100, 0, 2)
    assert cache.outbox() == []


def test_an_atomic_batch_fails_at_the_reuse_of_an_external_id_that_it_would_have_reserved_itself(
    cache: CacheUnderTest,
) -> None:
    cache.with_wallet(balance_minor=100)
    items = [ReserveItem(intent(amount_minor=amount, external_id="x")) for amount in (10, 10, 11)]
    [reply] = cache.cache.reservations.reserve_unclaimed([(0, items)], 1, atomic=True)
    assert isinstance(reply, Failed)
    assert (reply.index, reply.decision.code) == (2, "REUSED")
    assert reply.decision.record is not None
    assert (reply.decision.record.fingerprint, reply.decision.record.stream_id) == (items[0].intent.fingerprint, "")
    assert cache.outbox() == []


# Optimistic concurrency


def test_each_accepted_payment_raises_the_version_by_one(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100, entry_count=5)
    based_on = {"first": 5, "second": 6, "third": 6}
    decisions = cache.reserve(
        *(ReserveItem(intent(amount_minor=1, external_id=name), version) for name, version in based_on.items())
    )
    assert [one.code.value for one in decisions] == ["RESERVED", "RESERVED", "VERSION_CONFLICT"]
    assert decisions[2].funds is not None
    assert decisions[2].funds.version == 7


# The edges. Lua counts in doubles: exact up to 2^53 - 1 and not beyond.

EDGES: list[tuple[str, int, int, int | None, int, str]] = [
    # name, balance, held before, floor, hold, outcome
    ("all there is", 100, 0, 0, 100, "RESERVED"),
    ("one too much", 100, 0, 0, 101, "INSUFFICIENT_FUNDS"),
    ("all that is not held", 100, 40, 0, 60, "RESERVED"),
    ("one that is held", 100, 40, 0, 61, "INSUFFICIENT_FUNDS"),
    ("all of the overdraft", 0, 0, -50, 50, "RESERVED"),
    ("one beyond the overdraft", 0, 0, -50, 51, "INSUFFICIENT_FUNDS"),
    ("the largest balance", MAX_MINOR, 0, 0, MAX_MINOR, "RESERVED"),
    ("the largest but one", MAX_MINOR - 1, 0, 0, MAX_MINOR, "INSUFFICIENT_FUNDS"),
    ("the largest, one held", MAX_MINOR, 1, 0, MAX_MINOR, "INSUFFICIENT_FUNDS"),
    ("the largest, the rest held", MAX_MINOR, MAX_MINOR - 1, 0, 1, "RESERVED"),
    ("the largest overdraft", 0, 0, -MAX_MINOR, MAX_MINOR, "RESERVED"),
    ("the largest overdraft, one below", -1, 0, -MAX_MINOR, MAX_MINOR, "INSUFFICIENT_FUNDS"),
    ("the largest overdraft, one held", 0, 1, -MAX_MINOR, MAX_MINOR, "INSUFFICIENT_FUNDS"),
    ("at the largest overdraft", -MAX_MINOR, 0, -MAX_MINOR, 1, "INSUFFICIENT_FUNDS"),
    ("far below, by the most", -MAX_MINOR, 0, -MAX_MINOR, MAX_MINOR, "INSUFFICIENT_FUNDS"),
    ("held to the top", MAX_MINOR, MAX_MINOR - 1, -MAX_MINOR, 1, "RESERVED"),
    ("held over the top", MAX_MINOR, MAX_MINOR, -MAX_MINOR, 1, "BALANCE_OUT_OF_RANGE"),
    ("no floor, to the bottom", 0, 0, None, MAX_MINOR, "RESERVED"),
    ("no floor, over the bottom by one", -1, 0, None, MAX_MINOR, "BALANCE_OUT_OF_RANGE"),
    ("no floor, at the bottom", -MAX_MINOR, 0, None, 1, "BALANCE_OUT_OF_RANGE"),
    ("no floor, held over the top", MAX_MINOR, MAX_MINOR, None, 1, "BALANCE_OUT_OF_RANGE"),
    ("below the floor already", 10, 0, 20, 1, "INSUFFICIENT_FUNDS"),
]


@pytest.mark.parametrize(
    ("balance", "held", "floor", "hold", "code"), [e[1:] for e in EDGES], ids=[e[0] for e in EDGES]
)
def test_the_edges_are_exact_to_the_last_unit(
    cache: CacheUnderTest, balance: int, held: int, floor: int | None, hold: int, code: str
) -> None:
    cache.hydrate(ledger_row("alice", balance, floor_minor=floor))
    hot_state.put(cache.client, keys.account(0, "alice"), held=held)
    [decision] = cache.reserve(intent(amount_minor=hold, external_id="edge"))
    assert decision.code == code
    after = held + hold if code == "RESERVED" else held
    assert cache.state() == Funds(balance, after, floor, int(code == "RESERVED"))
    assert cache.raw()["held"] == str(after)
    assert cache.raw()["balance"] == str(balance)


@pytest.mark.parametrize("floor", [None, 0])
def test_a_payment_that_raises_the_guarded_balance_holds_nothing_and_meets_no_floor(
    cache: CacheUnderTest, floor: int | None
) -> None:
    cache.hydrate(ledger_row("bank", -500, normal_sign=1, floor_minor=floor))
    [decision] = cache.reserve(intent("bank", "alice", 100, hold_minor=0))
    assert decision.code == "RESERVED"
    assert decision.version == 1
    assert cache.state("bank") == Funds(-500, 0, floor, 1)
    assert cache.holds("bank") == {}
    assert cache.outbox() == [decision.stream_id]


def test_the_backlog_counts_what_the_same_batch_has_queued(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    batch = [intent(amount_minor=1, external_id=f"x{n}") for n in range(4)]
    assert cache.limited_to(3).codes(*batch) == ["RESERVED"] * 3 + ["BACKLOGGED"]
    assert cache.limited_to(3).codes(batch[0], intent(amount_minor=1, external_id="new")) == ["REPLAYED", "BACKLOGGED"]


# Waking, keys, counts


@pytest.mark.parametrize(
    ("awake", "backlog", "amount", "wake"),
    [
        (False, False, 1, True),
        (True, False, 1, False),  # a drain is at work
        (False, True, 1, False),  # whoever queued the first has woken one
        (False, False, 101, False),  # nothing was queued
    ],
)
def test_a_wake_up_is_requested_only_for_the_first_intent_while_no_drain_is_at_work(
    cache: CacheUnderTest, awake: bool, backlog: bool, amount: int, wake: bool
) -> None:
    cache.with_wallet(balance_minor=100)
    if backlog:
        cache.reserved(1, "before")
    if awake:
        cache.cache.outbox.mark_awake()
    reply = cache.try_reserve(intent(amount_minor=amount, external_id="x"))
    assert not isinstance(reply, Stale)
    assert reply.wake is wake


def test_the_mark_of_a_drain_at_work_can_be_removed(cache: CacheUnderTest) -> None:
    cache.with_wallet()
    cache.cache.outbox.mark_awake()
    cache.cache.outbox.mark_asleep()
    reply = cache.try_reserve(intent())
    assert not isinstance(reply, Stale)
    assert reply.wake


def test_funds_never_expire_and_idempotency_records_do(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    stream_id = cache.reserved(60, "accepted")
    cache.reserve(intent(amount_minor=101, external_id="refused"))
    cache.reserved(10, "second")
    cache.cache.outbox.settle(0, [settlement(balance_minor=40, posted=(stream_id,))], done=[stream_id])
    lasting = {key for key in cache.client.scan_iter() if cache.client.pttl(key) == -1}
    passing = {key: cache.client.pttl(key) for key in cache.client.scan_iter() if key not in lasting}
    assert lasting == {
        keys.account(0, "alice"), keys.outbox(0), keys.directory(0), keys.tally(0),
    }  # fmt: skip
    assert set(passing) == {
        name(0, "default", external_id)
        for name in (keys.record, keys.claim)
        for external_id in ("accepted", "refused", "second")
    }
    assert all(0 < milliseconds <= WINDOW_MS for milliseconds in passing.values())


def test_outcomes_are_tallied(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    batch = [
        intent(amount_minor=amount, external_id=name) for name, amount in (("a", 60), ("b", 101)) for _ in range(2)
    ]
    cache.reserve(*batch, intent("nobody", "bob", 1, external_id="c"))
    assert cache.cache.inspection.tallies() == {"RESERVED": 1, "REPLAYED": 2, "INSUFFICIENT_FUNDS": 1, "COLD": 1}


def test_intents_that_are_no_payments_are_not_tallied_as_reserved(cache: CacheUnderTest) -> None:
    cache.cache.partition_states.open(0, 1, f"{2 * NOON_MS}-0")
    cache.with_wallet(balance_minor=100)
    outbox_position = OutboxPosition(0, cache.reserved(60, "authorization"))
    end = intent(amount_minor=1, hold_minor=0, external_id="void", kind=Kind.VOID)
    cache.cache.authorizations.conclude(outbox_position, end, AuthorizationState.VOIDED, 3 * NOON_MS, 1)
    cache.cache.outbox.settle(0, [], done_up_to=cache.outbox()[-1])
    assert cache.cache.inspection.tallies() == {"RESERVED": 1}


def test_a_server_that_lost_its_scripts_gets_them_again(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.client.script_flush()
    assert cache.codes(intent(amount_minor=1, external_id="a")) == ["RESERVED"]
    cache.client.script_flush()
    cache.cache.outbox.settle(0, [settlement(balance_minor=1)])
    assert cache.state().balance_minor == 1


def test_several_partitions_are_decided_independently_in_one_call(cache: CacheUnderTest) -> None:
    cache = CacheUnderTest(cache.client, partitions=4).opened()
    one, other = account_in(1, "alice"), account_in(2, "carol")
    cache.hydrate(wallet(one, 10), wallet(other, 10))
    groups = [
        (1, [ReserveItem(intent(one, other, 5, external_id="a"))]),
        (2, [ReserveItem(intent(other, one, 11, external_id="b"))]),
    ]
    replies, elsewhere = cache.cache.reservations.reserve(groups, 1)
    assert [reply.decisions[0].code.value for reply in replies if not isinstance(reply, Stale)] == [
        "RESERVED",
        "INSUFFICIENT_FUNDS",
    ]
    assert elsewhere == {}
    assert {partition: n for partition, n in cache.cache.outbox.backlog().items() if n} == {1: 1}


def test_an_external_id_that_another_partition_has_claimed_is_named(cache: CacheUnderTest) -> None:
    cache = CacheUnderTest(cache.client, partitions=4).opened()
    one, other = account_in(1, "alice"), account_in(2, "carol")
    cache.hydrate(wallet(one, 10), wallet(other, 10))
    cache.cache.reservations.reserve([(1, [ReserveItem(intent(one, "bob", 5, external_id="x"))])], 1)
    _, elsewhere = cache.cache.reservations.reserve([(2, [ReserveItem(intent(other, "bob", 5, external_id="x"))])], 1)
    assert elsewhere == {("default", "x"): 1}
    assert cache.cache.reservations.claimed_partition("default", "x") == 1
    assert cache.cache.reservations.claimed_partition("default", "unknown") is None
    assert cache.cache.reservations.claimed_partition("other entity", "x") is None


def test_a_claim_stays_with_the_first_and_keeps_its_expiry(cache: CacheUnderTest) -> None:
    cache.with_wallet(balance_minor=100)
    cache.reserved(1, "x")
    cache.client.pexpire(keys.claim(0, "default", "x"), 60_000)
    _, elsewhere = cache.cache.reservations.reserve([(0, [ReserveItem(intent(amount_minor=1, external_id="x"))])], 1)
    assert elsewhere == {}
    assert 0 < int(cache.client.pttl(keys.claim(0, "default", "x"))) <= 60_000  # type: ignore[arg-type]
