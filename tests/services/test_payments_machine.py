"""Random payments, drains and losses of the cache, over real servers, against a model that knows none of the code."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from zlib import crc32

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain.refusals import Refusal
from app.services.payments.outcomes import Accepted
from tests.builders import PARTITIONS, payment
from tests.databases import Databases
from tests.world import World

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
FLOORS = {"alice": 0, "bob": 0, "carol": -50, "dave": -50, "bank": None}
Content = tuple[str, str, int]


@dataclass
class Model:
    """Double entry on paper: balances in the ledger, payments on their way, and answers given."""

    booked: dict[str, int] = field(default_factory=dict)
    posted: dict[str, Content] = field(default_factory=dict)
    pending: list[tuple[str, Content]] = field(default_factory=list)
    answered: dict[str, tuple[Content, str]] = field(default_factory=dict)

    def available(self, account: str) -> int | None:
        """What may be spent; None is without limit."""
        floor = FLOORS[account]
        held = sum(content[2] for _, content in self.pending if content[0] == account)
        return None if floor is None else self.booked[account] - held - floor

    def is_held_back(self, content: Content) -> bool:
        """Whether only holds stand in the way of a payment: then the ledger is asked before the refusal is recorded."""
        floor = FLOORS[content[0]]
        return floor is not None and self.booked[content[0]] - floor >= content[2]

    def answer(self, external_id: str, content: Content) -> str:
        """What Holdfast must answer, and what follows from it."""
        earlier = self.answered.get(external_id)
        if earlier is not None and earlier[0] != content:
            return "external_id_reused"
        if earlier is not None and earlier[1] != "insufficient_funds":
            return earlier[1]
        available = self.available(content[0])
        if earlier is None and (available is None or content[2] <= available):
            self.answered[external_id] = (content, "accepted")
            self.pending.append((external_id, content))
            return "accepted"
        if earlier is None and not (self.is_held_back(content) and external_id in self.posted):
            self.answered[external_id] = (content, "insufficient_funds")
        if external_id in self.posted:  # the cache has forgotten it, the ledger has not
            return "accepted" if self.posted[external_id] == content else "external_id_reused"
        return "insufficient_funds"

    def post(self) -> None:
        """Post every pending payment, each external id once and with its first content."""
        by_partition = sorted(self.pending, key=lambda one: crc32(one[1][0].encode()) % PARTITIONS)
        for external_id, content in by_partition:
            known = self.posted.setdefault(external_id, content)
            if known is not content:
                code = "accepted" if known == content else "external_id_reused"
                self.answered[external_id] = (content, code)
                continue
            source, destination, amount = content
            self.booked[source] += amount if source == "bank" else -amount
            self.booked[destination] += -amount if destination == "bank" else amount
        self.pending = []

    def forget(self) -> None:
        """Lose the cache with its pending payments and answers, but not the ledger."""
        self.pending, self.answered = [], {}


class Holdfast(RuleBasedStateMachine):
    """Payers, a drain, an auditor and a cache that may vanish."""

    databases: Databases
    cache_url: str

    @initialize(funds=st.fixed_dictionaries({name: st.integers(1, 200) for name in FLOORS if name != "bank"}))
    def open_the_ledger(self, funds: dict[str, int]) -> None:
        self.stack = ExitStack()
        with redis.Redis.from_url(self.cache_url) as client:
            client.flushdb()
        urls = replace(self.stack.enter_context(self.databases.lent()), redis_url=self.cache_url)
        self.world = World(urls)
        self.stack.callback(self.world.close)
        self.model = Model(booked=dict.fromkeys(FLOORS, 0))
        self.world.bank()
        for account, amount in funds.items():
            self.world.account(account, overdraft_limit_minor=-(FLOORS[account] or 0))
            self.submit(("bank", account, amount), f"bank-fund-{account}")
        self.drain()

    def submit(self, content: Content, external_id: str) -> None:
        source, destination, amount = content
        [outcome] = self.world.payments.submit(
            [payment(source, destination, amount, external_id=external_id)], "key:test"
        )
        expected = self.model.answer(external_id, content)
        if isinstance(outcome, Refusal):
            assert outcome.code.value == expected
        else:
            assert isinstance(outcome, Accepted)
            assert expected == "accepted"
            assert outcome.intent.legs[0].amount_minor == amount

    accounts = st.sampled_from(sorted(FLOORS))

    @rule(source=accounts, destination=accounts, amount=st.integers(1, 120), number=st.integers(0, 6))
    def pay(self, source: str, destination: str, amount: int, number: int) -> None:
        """A small range of external ids, so that repeats and reuses occur by chance."""
        if source != destination:
            self.submit((source, destination, amount), f"{source}-{number}")

    @precondition(lambda self: self.model.answered)
    @rule(choice=st.randoms(use_true_random=False))
    def repeat(self, choice: object) -> None:
        external_id = choice.choice(sorted(self.model.answered))  # type: ignore[attr-defined]
        content, code = self.model.answered[external_id]
        if code != "external_id_reused":
            self.submit(content, external_id)

    @rule()
    def drain(self) -> None:
        self.world.drain()
        self.model.post()

    @rule()
    def lose_the_cache(self) -> None:
        self.world.lose_cache()
        self.model.forget()

    @rule(full=st.booleans())
    def reconcile(self, full: bool) -> None:
        assert self.world.reconcile(full=full).breaks == []

    @invariant()
    def what_is_cached_is_what_the_model_says(self) -> None:
        if not hasattr(self, "world"):
            return
        for account, floor in FLOORS.items():
            funds = self.world.warm(account).funds
            available = self.model.available(account)
            if available is not None:
                assert (account, funds.available_minor) == (account, available)
                assert available >= 0 or floor is None
            assert (account, funds.balance_minor) == (account, self.model.booked[account])

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.drain()
            assert {account: self.world.booked(account) for account in FLOORS} == self.model.booked
            assert self.world.posted_external_ids() == sorted(self.model.posted, key=str.encode)
            self.world.assert_proven()
        finally:
            self.stack.close()


@pytest.mark.timeout(3_600 if IS_LONG else 300)
def test_ledger_and_model_agree_after_any_steps_in_any_order(few_partitions: Databases, empty_cache: str) -> None:
    Holdfast.databases, Holdfast.cache_url = few_partitions, empty_cache
    run_state_machine_as_test(
        Holdfast,
        settings=settings(
            max_examples=500 if IS_LONG else 10,
            stateful_step_count=60 if IS_LONG else 20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=Phase if IS_LONG else (Phase.reuse, Phase.generate),  # to shrink would outlast the timeout
            report_multiple_bugs=False,
        ),
    )
