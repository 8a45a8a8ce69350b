"""Coalescing: requests that arrive during a call share the next one, and each caller gets its own answer."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from app.cache.cache import Cache
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.payment import PaymentRequest
from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import ReserveItem
from app.services.payments.coalescing import Coalescer
from app.services.payments.outcomes import Accepted
from tests.builders import PARTITIONS, account_in, payment
from tests.patience import PATIENCE_S, until
from tests.services.faults import Overridden
from tests.world import World


class Doubling:
    """A call that doubles numbers, notes what came together, and can be delayed, fail, or end its thread."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.open = Event()
        self.entered = Event()
        self.troubles: dict[int, BaseException] = {}

    def __call__(self, wishes: list[int]) -> Sequence[int]:
        """Each wish doubled."""
        self.calls.append(wishes)
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        for wish in wishes:
            if wish in self.troubles:
                raise self.troubles[wish]
        return [2 * wish for wish in wishes]


class Crowd:
    """Threads that ask a coalescer; the call of the first lasts until all others are queued."""

    def __init__(self, most: int = 100, together: Callable[[int, int], bool] = lambda one, other: True) -> None:
        self.call = Doubling()
        self.coalescer: Coalescer[int, int] = Coalescer(self.call, together, most=most)

    def ask(self, *wishes: int) -> list[Future[int]]:
        with ThreadPoolExecutor(len(wishes)) as threads:
            asked = []
            for number, wish in enumerate(wishes):
                asked.append(threads.submit(self.coalescer.ask, wish))
                if number == 0:
                    assert self.call.entered.wait(PATIENCE_S)
                until(lambda number=number: self.coalescer.waiting == number)
            self.call.open.set()
        return asked


def answers(asked: list[Future[int]]) -> list[int | str]:
    return [type(error).__name__ if (error := one.exception()) else one.result() for one in asked]


def test_a_request_alone_is_sent_at_once() -> None:
    crowd = Crowd()
    crowd.call.open.set()
    assert [crowd.coalescer.ask(1), crowd.coalescer.ask(2)] == [2, 4]
    assert crowd.call.calls == [[1], [2]]


def test_requests_that_arrive_during_a_call_share_the_next_in_the_order_of_arrival() -> None:
    crowd = Crowd()
    assert answers(crowd.ask(1, 2, 3, 4)) == [2, 4, 6, 8]
    assert crowd.call.calls == [[1], [2, 3, 4]]


def test_a_call_takes_a_bounded_number_of_requests_and_leaves_the_rest_to_the_next() -> None:
    crowd = Crowd(most=2)
    assert answers(crowd.ask(1, 2, 3, 4, 5, 6)) == [2, 4, 6, 8, 10, 12]
    assert crowd.call.calls == [[1], [2, 3], [4, 5], [6]]


def test_requests_that_may_not_share_a_call_get_calls_of_their_own() -> None:
    crowd = Crowd(together=lambda one, other: one % 2 == other % 2)
    assert answers(crowd.ask(1, 2, 4, 5, 7, 8)) == [2, 4, 8, 10, 14, 16]
    assert crowd.call.calls == [[1], [2, 4], [5, 7], [8]]


@pytest.mark.parametrize("fault", [CacheUnavailable("gone"), OutcomeUnknown("silent")])
def test_a_fault_is_told_to_everybody_in_its_call_and_to_nobody_else(fault: Exception) -> None:
    crowd = Crowd(most=2)
    crowd.call.troubles = {3: fault}
    assert answers(crowd.ask(1, 2, 3, 4)) == [2, type(fault).__name__, type(fault).__name__, 8]
    assert crowd.coalescer.ask(5) == 10


def test_a_defect_is_told_to_its_cause_alone() -> None:
    crowd = Crowd()
    crowd.call.troubles = {3: ValueError("a defect")}
    assert answers(crowd.ask(1, 2, 3, 4)) == [2, 4, "ValueError", 8]
    assert crowd.call.calls == [[1], [2, 3, 4], [2], [3], [4]]


def test_nobody_waits_for_ever_when_the_calling_thread_ends() -> None:
    crowd = Crowd(most=2)
    crowd.call.troubles = {2: SystemExit()}
    assert answers(crowd.ask(1, 2, 3, 4)) == [2, "SystemExit", "OutcomeUnknown", 8]
    assert crowd.coalescer.ask(5) == 10


def test_each_of_many_callers_gets_its_own_answer() -> None:
    crowd = Crowd()
    crowd.call.open.set()
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(crowd.coalescer.ask, range(3_000))) == [2 * wish for wish in range(3_000)]
    assert sum(map(len, crowd.call.calls)) == 3_000


# Over real servers


class HeldReservations:
    """Reservations whose next call waits for `go`; notes how many payments each call decides."""

    def __init__(self, like: Cache) -> None:
        self._like = like.reservations
        self.sizes: list[int] = []
        self.go = Event()
        self.go.set()

    def reserve(self, groups: Sequence[tuple[int, Sequence[ReserveItem]]], directory_version: int) -> Any:
        """The real call, once `go` is set."""
        self.sizes.append(sum(len(items) for _, items in groups))
        assert self.go.wait(PATIENCE_S)
        return self._like.reserve(groups, directory_version)


class Till:
    """The payments of a world, made so that the calls of several threads are sure to be coalesced."""

    def __init__(self, world: World) -> None:
        self.cache = HeldReservations(world.cache)
        self.payments = world.new_payments(Overridden(world.cache, reserve=self.cache.reserve))  # type: ignore[arg-type]

    def together(self, *wanted: tuple[PaymentRequest, str]) -> list[Accepted | Refusal]:
        """Submit a payment alone, and during its call all others, each by its actor; answers in that order."""
        with ThreadPoolExecutor(len(wanted)) as threads, self._held():
            asked = []
            for number, (request, actor) in enumerate(wanted):
                asked.append(threads.submit(self.payments.submit_one, request, actor))
                if number == 0:
                    until(lambda: bool(self.cache.sizes))
                until(lambda number=number: self.payments.coalesced_reserve.waiting == number)
            self.cache.go.set()
            return [one.result(PATIENCE_S) for one in asked]

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.cache.sizes.clear()
        self.cache.go.clear()
        try:
            yield
        finally:
            self.cache.go.set()


@pytest.fixture
def till(world: World) -> Till:
    world.bank()
    for name in ("alice", "bob"):
        world.account(name, balance_minor=100)
        world.warm(name)
    world.paying.decider.refresh_directory(range(PARTITIONS))
    return Till(world)


def test_payments_of_several_callers_are_decided_in_one_call_each_for_its_own_caller(till: Till, world: World) -> None:
    outcomes = till.together(
        (payment("alice", "bank", 1, external_id="first"), "key:one"),
        (payment("alice", "bank", 60, external_id="a"), "key:one"),
        (payment("bob", "bank", 60, external_id="b"), "key:two"),
        (payment("alice", "bank", 60, external_id="too-much"), "key:three"),
        (payment("alice", "bank", 39, external_id="c"), "key:four"),
    )
    assert till.cache.sizes == [1, 4]
    refused = outcomes[3]
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.figures["available_minor"]) == (RefusalCode.INSUFFICIENT_FUNDS, 39)
    accepted = [one for one in outcomes if isinstance(one, Accepted)]
    assert [(one.intent.external_id, one.intent.actor) for one in accepted] == [
        ("first", "key:one"), ("a", "key:one"), ("b", "key:two"), ("c", "key:four")
    ]  # fmt: skip
    world.drain()
    assert (world.booked("alice"), world.booked("bob")) == (0, 40)
    world.assert_proven()


def test_the_same_external_id_twice_in_one_call_is_one_payment(till: Till, world: World) -> None:
    again = payment("alice", "bank", 5, external_id="twice")
    outcomes = till.together(
        (payment("bob", "bank", 1, external_id="first"), "key:one"),
        (again, "key:one"),
        (again, "key:two"),
        (payment("alice", "bank", 6, external_id="twice"), "key:three"),
    )
    assert till.cache.sizes == [1, 3]
    first, second, other = outcomes[1:]
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert (first.replayed, second.replayed, second.payment_id) == (False, True, first.payment_id)
    assert isinstance(other, Refusal)
    assert other.code == RefusalCode.EXTERNAL_ID_REUSED
    world.drain()
    assert world.booked("alice") == 95
    world.assert_proven()


def test_the_same_external_id_twice_in_one_call_is_noticed_across_partitions(till: Till, world: World) -> None:
    here, there = (world.account(account_in(partition, "w"), balance_minor=10) for partition in (0, 1))
    world.warm(here), world.warm(there)
    outcomes = till.together(
        (payment("bob", "bank", 1, external_id="first"), "key:one"),
        (payment(here, "bank", 5, external_id="twice"), "key:one"),
        (payment(there, "bank", 5, external_id="twice"), "key:two"),
    )
    assert till.cache.sizes == [1, 2]
    assert isinstance(outcomes[1], Accepted)
    assert isinstance(outcomes[2], Refusal)
    assert outcomes[2].code == RefusalCode.EXTERNAL_ID_REUSED
    world.drain()
    assert (world.booked(here), world.booked(there)) == (5, 10)
    world.assert_proven()


def test_cold_accounts_in_a_call_are_hydrated_by_the_requests_that_need_them(till: Till, world: World) -> None:
    world.account("cold", balance_minor=10)
    world.client.delete(world.account_key("cold"))
    outcomes = till.together(
        (payment("bob", "bank", 1, external_id="first"), "key:one"),
        (payment("cold", "bank", 5, external_id="a"), "key:one"),
        (payment("alice", "bank", 5, external_id="b"), "key:two"),
    )
    assert all(isinstance(one, Accepted) for one in outcomes)
    assert till.cache.sizes == [1, 2, 1]


def test_a_drain_is_woken_once_for_a_call(till: Till, world: World) -> None:
    here, also = account_in(0, "w"), account_in(0, "x")
    for one in (here, also):
        world.account(one, balance_minor=10)
        world.warm(one)
    world.drain()
    world.cache.outbox.mark_asleep()
    world.wakes.clear()
    till.together(
        (payment("alice", "bank", 1_000, external_id="refused"), "key:one"),
        (payment(here, "bank", 5, external_id="a"), "key:one"),
        (payment(also, "bank", 5, external_id="b"), "key:two"),
    )
    assert till.cache.sizes == [1, 2]
    assert world.wakes == ["drain"]
