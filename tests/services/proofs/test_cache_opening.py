"""Opening a closed cache: by whom, in which order, and whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.domain.account_changes import AccountPatch
from app.domain.accounts import AccountStatus
from app.domain.errors import CacheUnavailable, Fault
from app.domain.payment import PaymentRequest
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.cache_identity import LedgerCacheIdentity
from app.services.accounts.directory import DirectoryPush
from app.services.proofs.cache_identity import AcknowledgedTail, CacheIdentity, CacheIdentityWatch
from app.wiring.services import build_changes, build_readiness
from tests.builders import PARTITIONS, account_in, payment
from tests.services.faults import Crashed, Overridden
from tests.world import World


@pytest.fixture
def funded(world: World) -> World:
    """Alice has 900, and the cache is open."""
    world.bank()
    world.account("alice", balance_minor=900)
    world.account("bob")
    world.warm("alice")
    world.identity.note()
    return world


def losses(world: World) -> list[dict[str, Any]]:
    query = "SELECT figures FROM reconciliation_break WHERE kind = 'cache_lost' AND state = 'open' ORDER BY break_id"
    return [figures for (figures,) in world.rows(query)]


def identity_over(world: World, cache: Any = None, ledger: Any = None) -> CacheIdentity:
    """A watch over parts that may fail."""
    ledger = ledger or LedgerCacheIdentity(world.settings.database_url)
    return CacheIdentity(cache or world.cache, ledger, AcknowledgedTail(PARTITIONS), lambda: "a new identity")


def test_a_new_installation_is_opened_without_a_break(world: World) -> None:
    assert world.identity.check() == 1
    assert None not in world.cache.partition_states.directory_versions().values()
    assert losses(world) == []


def test_an_installation_of_before_is_taken_over_as_it_is(funded: World) -> None:
    """The version before knew no identities: the ledger remembers none, and the cache has none."""
    funded.accepted("alice", "bob", 1)
    funded.tamper("DELETE FROM cache_identity")
    for partition in range(PARTITIONS):
        funded.client.delete(f"hf:{{{partition}}}:identity")
    before = funded.client.hgetall(funded.account_key("alice"))
    assert funded.new_identity().check() == 1
    assert (losses(funded), funded.client.hgetall(funded.account_key("alice"))) == ([], before)
    funded.drain()
    funded.assert_proven()


def test_each_process_names_what_it_had_acknowledged(funded: World) -> None:
    other = funded.new_payment_services(funded.new_cache())
    other.identity.check()
    own = funded.accepted("alice", "bob", 1)
    others = other.payments.submit_one(_payment("of the other"), "key:test")
    funded.lose_cache()
    funded.identity.check()
    other.identity.check()
    other.identity.check()
    [figures] = losses(funded)
    assert set(figures["payment_ids"]) == {own.payment_id, others.payment_id}  # type: ignore[union-attr]
    assert figures["lost_payments"] == 2


def _payment(external_id: str) -> PaymentRequest:
    return payment("alice", "bob", 1, external_id=external_id)


def test_what_a_drain_had_read_before_the_loss_and_posts_after_it_is_not_named_for_long(funded: World) -> None:
    accepted = funded.accepted("alice", "bob", 1)

    class WithSlowDrain:
        """The outbox of a drain that has read an intent, when the cache loses it."""

        def read_many(self, *arguments: Any) -> Any:
            found = funded.cache.outbox.read_many(*arguments)
            if any(found.values()) and not losses(funded):
                funded.lose_cache()
                funded.identity.check()
                assert losses(funded)[0]["payment_ids"] == [accepted.payment_id]
            return found

    funded.drain(funded.new_drain(cache=Overridden(funded.cache, read_many=WithSlowDrain().read_many)))
    assert funded.booked("bob") == 1
    funded.identity.check()
    [figures] = losses(funded)
    assert (figures["payment_ids"], figures["lost_payments"]) == ([], 0)
    funded.assert_proven()


CRASHES = ["close", "forget", "open_all"]


@pytest.mark.parametrize("call", CRASHES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_opening_that_was_killed_is_finished_by_the_next_look_and_the_loss_is_on_record_once(
    funded: World, call: str, when: str
) -> None:
    pending = funded.accepted("alice", "bob", 1)
    funded.client.hset(f"hf:{{{pending.outbox_position.partition}}}:identity", "beat", -1)  # an older copy
    states = funded.cache.partition_states

    def killed(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            getattr(states, call)(*arguments, **named)
        raise Crashed

    with pytest.raises(Crashed):
        identity_over(funded, Overridden(funded.cache, **{call: killed})).check()
    assert funded.new_payment_services(funded.new_cache()).identity.check() >= 2
    assert len(losses(funded)) == 1
    funded.drain()
    assert funded.booked("bob") == 1
    funded.assert_proven()


def test_two_processes_that_notice_at_once_open_once(funded: World) -> None:
    watches = [funded.new_identity() for _ in range(6)]
    funded.lose_cache()
    with ThreadPoolExecutor(len(watches)) as threads:
        generations = list(threads.map(lambda one: one.check(), watches))
    assert generations == [2] * len(watches)
    assert len(losses(funded)) == 1
    funded.accepted("alice", "bob", 900)


def test_while_another_process_opens_it_payments_are_told_to_come_again(funded: World) -> None:
    funded.lose_cache()
    with LedgerCacheIdentity(funded.settings.database_url).opening():
        with pytest.raises(CacheUnavailable, match="opened again from the ledger"):
            funded.pay("alice", "bob", 1)
        readiness = build_readiness(
            funded.settings, funded.engine, funded.cache, funded.identity, funded.ledger_accounts
        )
        check = readiness.look().checks["cache_identity"]
        assert (check.ok, check.detail) == (False, "the cache is closed: it is being opened again from the ledger")
    assert readiness.look().checks["cache_identity"].detail == "open, generation 2"
    funded.accepted("alice", "bob", 1)


def test_a_push_does_not_open_a_closed_cache_and_whoever_opens_it_cannot_bring_an_old_version_back(
    funded: World,
) -> None:
    states = funded.cache.partition_states
    states.close("closed")
    assert states.push(77) == list(range(PARTITIONS))
    assert states.open(0, 1, "", "another") is None
    assert states.open(0, 1, "", "closed") == 77


def test_a_freeze_while_the_cache_is_closed_bars_the_first_payment_after_it(funded: World) -> None:
    changes = build_changes(LedgerAccountChanges(funded.engine), funded.cache, funded.balances)
    funded.accepted("alice", "bob", 1)
    funded.drain()
    open_all = funded.cache.partition_states.open_all

    def freeze_first(*arguments: Any) -> Any:
        outcome = changes.change("alice", AccountPatch({"status": AccountStatus.FROZEN}, "a test"), "key:test")
        assert not isinstance(outcome, Refusal)
        return open_all(*arguments)

    funded.lose_cache()
    identity_over(funded, Overridden(funded.cache, open_all=freeze_first)).check()
    assert funded.refused("alice", "bob", 1).code == RefusalCode.ACCOUNT_FROZEN


def test_the_sweep_pushes_again_what_the_cache_has_lost(funded: World) -> None:
    sweep = DirectoryPush(funded.cache, LedgerAccountChanges(funded.engine))
    sweep.run_once()
    assert sweep.run_once() is False
    partition = funded.cache.partition_of("alice")
    funded.client.set(f"hf:{{{partition}}}:directory", 0)
    assert sweep.run_once() is True
    assert funded.cache.partition_states.directory_version(partition) == 1


def test_holds_come_back_as_the_ledger_and_the_outbox_know_them(funded: World) -> None:
    authorized = funded.accepted("alice", "bob", 100, manual_capture=True, expires_in_s=3_600)
    concluded = funded.accepted("alice", "bob", 50, manual_capture=True, expires_in_s=3_600)
    funded.drain()
    copy = funded.client.hgetall(funded.account_key("alice"))
    funded.authorizations.void(concluded.payment_id, "key:test")
    funded.drain()
    pending = funded.accepted("alice", "bob", 10)
    # An older state of the account: the void is not in it, and the authorization's hold is.
    funded.client.hset(funded.account_key("alice"), mapping=copy)
    funded.client.hset(f"hf:{{{pending.outbox_position.partition}}}:identity", "beat", -1)
    funded.identity.check()
    funded.warm("alice")
    [seen] = funded.cache.inspection.inspect(pending.outbox_position.partition, ["alice"])
    assert seen.funds.held_minor == 110
    assert seen.holds == {
        authorized.outbox_position.stream_id: (100, False),
        pending.outbox_position.stream_id: (10, True),
    }
    funded.drain()
    funded.assert_proven()


def test_thousands_of_accounts_are_forgotten_and_an_open_partition_forgets_none(funded: World) -> None:
    names = [account_in(1, f"many{number}") for number in range(250)]
    for name in names:
        funded.client.hset(funded.account_key(name), mapping={"funds": "1|5|0|0|1", "entry_count": 3})
    states = funded.cache.partition_states
    assert states.forget(1, names, counts_are_known=True) is False
    states.close("closed")
    assert states.forget(1, names, counts_are_known=True) is True
    assert all(funded.cache.accounts.balance(name) is None for name in names)
    assert funded.client.hgetall(funded.account_key(names[0])) == {"entry_count": "3", "settled_version": "0"}
    assert states.forget(1, names, counts_are_known=True) is True


def test_no_reconciliation_resolves_a_loss_and_somebody_can_accept_it(funded: World) -> None:
    funded.lose_cache()
    funded.identity.check()
    assert funded.reconcile().open_breaks == 1
    assert funded.reconcile().open_breaks == 1
    ledger = LedgerCacheIdentity(funded.settings.database_url)
    assert ledger.accept_losses("cli", "the customers were told") == ["generation/2"]
    assert funded.reconcile().open_breaks == 0
    assert funded.rows("SELECT actor, state, note FROM reconciliation_break_event ORDER BY event_id DESC LIMIT 1") == [
        ("cli", "accepted", "the customers were told")
    ]


def test_a_watch_goes_on_after_a_fault_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[bool] = []

    def look() -> None:
        looks.append(True)
        if len(looks) < 4:
            raise Fault("the ledger is away")

    watch = CacheIdentityWatch(look)
    for _ in range(5):
        watch.run_once()
    assert (len(looks), len(caplog.records)) == (5, 1)
