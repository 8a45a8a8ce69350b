"""Random steps of every kind, over real servers: each answer must be the one that the model predicts."""

import os
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

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

from app.domain.account_changes import AccountPatch
from app.domain.accounts import AccountStatus
from app.domain.authorizations import Authorization
from app.domain.journals import JournalLine, JournalRequest
from app.domain.payment import PaymentRequest
from app.domain.refusals import Refusal
from app.domain.splits import Destination
from app.ledger.account_changes import LedgerAccountChanges
from app.ledger.journal_sessions import JournalSessions
from app.ledger.transactions import LedgerTransactions
from app.services.accounts.changes import AccountChanges
from app.services.accounts.directory import DirectoryPush
from app.services.payments.batches import Batches, Pacing
from app.services.payments.outcomes import Accepted
from app.services.payments.refunds import Refunds
from app.services.posting.journal_holds import JournalHolds
from app.services.posting.journal_posting import JournalPoster
from app.services.posting.journals import Journals
from tests.builders import PARTITIONS
from tests.databases import Databases
from tests.services.lifecycle_model import ACCOUNTS, AGAIN, FIRST_LIMITS, OK, WALLETS, Content, Model, Part, split
from tests.world import World

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
ACTOR = "key:test"
REASON = "a test"


class Overdue:
    """The ledger's authorizations, of which one has expired."""

    def __init__(self, ledger: Any, authorization: Authorization) -> None:
        self._ledger = ledger
        self._authorization = authorization

    def due(self, now: datetime, limit: int) -> list[Authorization]:
        return [replace(self._authorization, expires_at=now - timedelta(hours=1))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


accounts = st.sampled_from(ACCOUNTS)
wallets = st.sampled_from(WALLETS)
amounts = st.integers(1, 120)
parts = st.one_of(
    st.tuples(st.just("fixed"), st.integers(1, 40)),
    st.tuples(st.just("share"), st.sampled_from(["0.5", "0.333333", "0.25", "0.1"])),
)
indexes = st.integers(0, 1_000)


class Lifecycle(RuleBasedStateMachine):
    """Payers, merchants, bookkeepers, operators, a drain, an auditor and a cache that may vanish."""

    databases: Databases
    cache_url: str
    steps = 0

    @initialize(funds=st.fixed_dictionaries({name: st.integers(50, 300) for name in WALLETS}))
    def open_the_ledger(self, funds: dict[str, int]) -> None:
        self.stack = ExitStack()
        with redis.Redis.from_url(self.cache_url) as client:
            client.flushdb()
        urls = replace(self.stack.enter_context(self.databases.lent()), redis_url=self.cache_url)
        self.world = world = World(urls)
        self.stack.callback(world.close)
        register = LedgerTransactions(world.engine)
        poster = JournalPoster(
            ledger=JournalSessions(urls.database_url, chain=PARTITIONS),
            register=register,
            cache=world.cache,
            holds=JournalHolds(world.cache, world.paying.held_back),
            decider=world.paying.decider,
            wake=lambda: None,
            sleep=world.clock.sleep,
            jitter=lambda: 1.0,
            new_attempt_id=lambda: uuid4().hex,
        )
        paying = world.paying
        self.authorizations = paying.authorizations
        pacing = Pacing(world.cache.outbox.backlog, world.clock.sleep)
        self.batches = Batches(paying.payments, paying.atomic_batches, pacing, sleep=world.clock.sleep)
        self.refunds = Refunds(world.cache, register, paying.finder, paying.durable_wait, poster, patience_s=0.0)
        self.journals = Journals(register, paying.directory, poster, self.refunds.posted_payment)
        change_ledger = LedgerAccountChanges(world.engine)
        self.changes = AccountChanges(
            change_ledger,
            world.cache,
            world.balances,
            DirectoryPush(world.cache, change_ledger),
            monotonic=world.clock,
            sleep=world.clock.sleep,
        )
        self.model = Model()
        self.ids: dict[str, str] = {}
        """Payment ids by external id, which is what the model calls payments by."""
        self.number = 0
        world.bank()
        for account, limit in FIRST_LIMITS.items():
            world.account(account, overdraft_limit_minor=limit)
        for account, amount in funds.items():
            self.pay(Content("bank", ((account, "remainder", None),), amount))
        self.drain()

    # Calling Holdfast

    def new_id(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}"

    def check(self, outcome: Any, expected: str) -> Any:
        """The answer is the predicted one; returns it."""
        if isinstance(outcome, Refusal):
            assert outcome.code.value == expected, outcome
        elif expected == AGAIN:
            assert outcome.replayed
        else:
            assert (expected, outcome.replayed) == (OK, False)
        return outcome

    def request(self, external_id: str, content: Content) -> PaymentRequest:
        [(account, how, _), *more] = content.destinations
        single = account if how == "remainder" and not more else None
        named = {"fixed": "amount_minor", "share": "share"}
        return PaymentRequest(
            external_id,
            content.source,
            single,
            content.amount,
            "EUR",
            destinations=()
            if single
            else tuple(
                Destination(one, remainder=True) if way == "remainder" else Destination(one, **{named[way]: of})
                for one, way, of in content.destinations
            ),
            manual_capture=content.manual,
            expires_in_s=3_600 if content.manual else None,
        )

    def submit(self, wanted: list[tuple[str, Content]]) -> None:
        expected = [self.model.pay(external_id, content) for external_id, content in wanted]
        outcomes = self.world.payments.submit([self.request(*one) for one in wanted], ACTOR)
        self.compare(wanted, outcomes, expected)

    def compare(self, wanted: list[tuple[str, Content]], outcomes: list[Any], expected: list[str]) -> None:
        assert len(outcomes) == len(expected)
        for (external_id, content), outcome, answer in zip(wanted, outcomes, expected, strict=True):
            self.check(outcome, answer)
            if isinstance(outcome, Accepted):
                credits = [(leg.account_id, -leg.amount_minor) for leg in outcome.intent.legs[1:]]
                assert credits == split(content)
                self.ids.setdefault(external_id, outcome.payment_id)

    def pay(self, content: Content, dry: bool = False) -> None:
        external_id = self.new_id("pay")
        if not dry:
            self.submit([(external_id, content)])
            return
        expected = deepcopy(self.model).pay(external_id, content)
        [outcome] = self.world.payments.submit([self.request(external_id, content)], ACTOR, dry_run=True)
        self.check(outcome, expected)

    # Payments

    @rule(source=accounts, destination=accounts, amount=amounts, dry=st.booleans())
    def pay_one(self, source: str, destination: str, amount: int, dry: bool) -> None:
        self.pay(Content(source, ((destination, "remainder", None),), amount), dry)

    @rule(
        source=accounts,
        to=st.lists(accounts, min_size=1, max_size=4, unique=True),
        how=st.lists(parts, min_size=4, max_size=4),
        amount=amounts,
        rest=st.sampled_from([0, 1, 2, None]),
        manual=st.booleans(),
    )
    def pay_several(
        self, source: str, to: list[str], how: list[Part], amount: int, rest: int | None, manual: bool
    ) -> None:
        asked: list[Part] = [(account, *part) for account, part in zip(to, how, strict=False)]  # type: ignore[misc]
        if rest is not None:
            n = rest % len(asked)
            asked[n] = (asked[n][0], "remainder", None)
        self.pay(Content(source, tuple(asked), amount, manual))

    @precondition(lambda self: self.model.contents)
    @rule(index=indexes, other=st.booleans())
    def repeat(self, index: int, other: bool) -> None:
        """Submit a payment again, or another one under an external id that the cache remembers."""
        known = self.model.records if other else self.model.contents
        external_ids = sorted(one for one in known if other or not self.model.contents[one].manual)
        if not external_ids:
            return
        external_id = external_ids[index % len(external_ids)]
        content = self.model.contents[external_id]
        self.submit([(external_id, replace(content, amount=content.amount + 1) if other else content)])

    @rule(wanted=st.lists(st.tuples(accounts, accounts, amounts), min_size=1, max_size=5))
    def pay_a_batch(self, wanted: list[tuple[str, str, int]]) -> None:
        self.submit([(self.new_id("batch"), Content(s, ((d, "remainder", None),), a)) for s, d, a in wanted])

    @rule(
        source=accounts,
        wanted=st.lists(st.tuples(accounts, st.integers(1, 80)), min_size=1, max_size=4),
        stranger=st.sampled_from([None, None, None, *ACCOUNTS]),
        dry=st.booleans(),
    )
    def pay_all_or_nothing(self, source: str, wanted: list[tuple[str, int]], stranger: str | None, dry: bool) -> None:
        batch = [(self.new_id("atomic"), Content(source, ((to, "remainder", None),), amount)) for to, amount in wanted]
        if stranger is not None:
            batch[-1] = (batch[-1][0], replace(batch[-1][1], source=stranger))
        expected = (deepcopy(self.model) if dry else self.model).batch(batch)
        requests = [self.request(*one) for one in batch]
        outcomes = self.batches.submit_atomically(requests, ACTOR, dry_run=dry)
        if dry:
            for outcome, answer in zip(outcomes, expected, strict=True):
                self.check(outcome, answer)
        else:
            self.compare(batch, outcomes, expected)

    # Authorizations

    @rule(source=accounts, destination=accounts, amount=amounts)
    def authorize(self, source: str, destination: str, amount: int) -> None:
        self.pay(Content(source, ((destination, "remainder", None),), amount, manual=True))

    def some_authorization(self, index: int) -> str:
        keys = [key for key, one in self.model.paid.items() if one.is_authorization]
        return keys[index % len(keys)]

    has_authorizations = precondition(lambda self: any(one.is_authorization for one in self.model.paid.values()))

    @has_authorizations
    @rule(index=indexes, amount=st.one_of(st.none(), st.integers(1, 130)))
    def capture(self, index: int, amount: int | None) -> None:
        key = self.some_authorization(index)
        taken = self.model.paid[key].amount if amount is None else amount
        expected = self.model.conclude(key, "captured", taken)
        self.check(self.authorizations.capture(self.ids[key], amount, ACTOR), expected)

    @rule(
        names=st.permutations(ACCOUNTS),
        shares=st.sampled_from([("0.5", "0.5"), ("0.25", "0.25", "0.5"), ("0.1", "0.4", "0.5")]),
        amount=st.integers(2, 40),
        percent=st.integers(1, 100),
    )
    def share_and_capture(self, names: list[str], shares: tuple[str, ...], amount: int, percent: int) -> None:
        """Capture part of an authorization with shares; the odd units go where the model says."""
        source, *to = names
        content = Content(source, tuple((one, "share", of) for one, of in zip(to, shares, strict=False)), amount, True)
        self.pay(content)
        key = f"pay-{self.number}"
        if key in self.model.paid:
            taken = max(1, amount * percent // 100)
            expected = self.model.conclude(key, "captured", taken)
            self.check(self.authorizations.capture(self.ids[key], taken, ACTOR), expected)

    @has_authorizations
    @rule(index=indexes)
    def void(self, index: int) -> None:
        key = self.some_authorization(index)
        expected = self.model.conclude(key, "voided", 0)
        self.check(self.authorizations.void(self.ids[key], ACTOR), expected)

    @has_authorizations
    @rule(index=indexes)
    def expire(self, index: int) -> None:
        key = self.some_authorization(index)
        expected = self.model.conclude(key, "expired", 0)
        found = self.authorizations.find(self.ids[key])
        assert found is not None
        overdue = Overdue(self.world.ledger_authorizations, found)
        clock = self.world.new_payment_services(ledger_authorizations=overdue).authorizations
        assert clock.expire_due(datetime.now(UTC)) == (expected == OK)

    # Journals and refunds

    @rule(
        names=st.lists(accounts, min_size=2, max_size=4, unique=True),
        values=st.lists(st.integers(-80, 80).filter(bool), min_size=3, max_size=3),
        off=st.sampled_from([0, 0, 0, 0, 1]),
        dry=st.booleans(),
    )
    def post_a_journal(self, names: list[str], values: list[int], off: int, dry: bool) -> None:
        debits = dict(zip(names, values[: len(names) - 1], strict=False))
        debits[names[-1]] = off - sum(debits.values())
        if not debits[names[-1]]:
            return
        lines = [JournalLine(account, amount > 0, abs(amount)) for account, amount in debits.items()]
        expected = (deepcopy(self.model) if dry else self.model).post(debits)
        request = JournalRequest(self.new_id("journal"), lines, REASON)
        done = self.check(self.journals.post(request, ACTOR, dry_run=dry), expected)
        if not isinstance(done, Refusal) and not dry:
            self.model.journals[done.transaction.payment_id] = debits
            self.check(self.journals.post(request, ACTOR), AGAIN)

    @precondition(lambda self: self.model.journals)
    @rule(index=indexes, dry=st.booleans())
    def reverse(self, index: int, dry: bool) -> None:
        known = list(self.model.journals)
        journal_id = known[index % len(known)]
        model = deepcopy(self.model) if dry else self.model
        if journal_id in model.reversed:
            expected = "journal_already_reversed"
        else:
            expected = model.post({a: -d for a, d in model.journals[journal_id].items()})
        self.check(self.journals.reverse(journal_id, self.new_id("reversal"), REASON, ACTOR, dry_run=dry), expected)
        if expected == OK:
            model.reversed.add(journal_id)

    @precondition(lambda self: self.model.paid)
    @rule(index=indexes, amount=st.one_of(st.none(), st.integers(1, 130)), dry=st.booleans())
    def refund(self, index: int, amount: int | None, dry: bool) -> None:
        model = deepcopy(self.model) if dry else self.model
        keys = list(model.paid)
        key = keys[index % len(keys)]
        external_id = self.new_id("refund")
        expected = model.refund(key, amount)
        self.check(self.refunds.refund(self.ids[key], external_id, amount, None, ACTOR, dry_run=dry), expected)
        if expected == OK:
            model.refunds[external_id] = (key, amount)

    @precondition(lambda self: self.model.refunds)
    @rule(index=indexes, other=st.booleans())
    def refund_again(self, index: int, other: bool) -> None:
        """Refund again, with the same or another amount under the same external id."""
        known = list(self.model.refunds)
        external_id = known[index % len(known)]
        key, amount = self.model.refunds[external_id]
        asked = (amount or 0) + 1 if other else amount
        expected = "external_id_reused" if other else AGAIN
        self.check(self.refunds.refund(self.ids[key], external_id, asked, None, ACTOR), expected)

    # Operators

    @rule(account=wallets, limit=st.integers(0, 150))
    def change_the_limit(self, account: str, limit: int) -> None:
        in_use = max(0, self.model.held(account) - self.model.booked[account])
        outcome = self.changes.change(account, AccountPatch({"overdraft_limit_minor": limit}, REASON), ACTOR)
        if limit < in_use:
            self.check(outcome, "limit_below_use")
            return
        assert not isinstance(outcome, Refusal), outcome
        assert outcome.overdraft_limit_minor == limit
        self.model.limits[account] = limit

    @rule(account=wallets, limit=st.integers(0, 60))
    def force_the_limit(self, account: str, limit: int) -> None:
        """A forced limit may lie below the balance, but not below what authorizations hold."""
        self.drain()
        held, booked = self.model.held(account), self.model.booked[account]
        is_cut = limit < self.model.limits[account]
        patch = AccountPatch({"overdraft_limit_minor": limit}, REASON, force=True)
        outcome = self.changes.change(account, patch, ACTOR)
        if is_cut and held and booked - held < -limit:
            self.check(outcome, "limit_below_use")
            return
        assert not isinstance(outcome, Refusal), outcome
        assert outcome.overdraft_limit_minor == limit
        self.model.limits[account] = limit

    @rule(account=accounts)
    def try_to_close(self, account: str) -> None:
        """An account that is not empty cannot be closed. Empty ones are left open, so that payments go on."""
        self.drain()
        if not self.model.is_empty(account):
            outcome = self.changes.change(account, AccountPatch({"status": AccountStatus.CLOSED}, REASON), ACTOR)
            self.check(outcome, "account_not_empty")

    @rule(amount=amounts, back=st.booleans())
    def open_pay_and_close(self, amount: int, back: bool) -> None:
        """Open an account, pay it, and close it for good once it is empty again."""
        if self.model.status["bank"] != "open":
            return
        account = self.world.account(self.new_id("short"))
        opened = self.number
        closing = AccountPatch({"status": AccountStatus.CLOSED}, REASON)
        self.model.open(account)
        self.pay(Content("bank", ((account, "remainder", None),), amount))
        self.check(self.changes.change(account, closing, ACTOR), "account_not_empty")
        self.drain()
        if back:
            self.pay(Content(account, (("bank", "remainder", None),), amount))
            self.drain()
            closed = self.changes.change(account, closing, ACTOR)
            assert not isinstance(closed, Refusal), closed
            [outcome] = self.world.payments.submit(
                [self.request(self.new_id("late"), Content("bank", ((account, "remainder", None),), 1))], ACTOR
            )
            self.check(outcome, "account_closed")
            for external_id in (f"pay-{opened + 1}", f"pay-{opened + 2}"):  # repeats and refunds have other rules here
                del self.model.contents[external_id], self.model.records[external_id], self.model.paid[external_id]

    @rule(account=accounts, status=st.sampled_from(["frozen", "frozen_debits", "frozen_credits"]))
    def freeze(self, account: str, status: str) -> None:
        self.set_status(account, status)

    @precondition(lambda self: set(self.model.status.values()) != {"open"})
    @rule()
    def thaw(self) -> None:
        for account, status in list(self.model.status.items()):
            if status != "open":
                self.set_status(account, "open")

    def set_status(self, account: str, status: str) -> None:
        outcome = self.changes.change(account, AccountPatch({"status": AccountStatus(status)}, REASON), ACTOR)
        assert not isinstance(outcome, Refusal), outcome
        self.model.status[account] = status

    # The drain, the cache and the proofs

    @rule()
    def drain(self) -> None:
        self.world.drain()
        self.model.drain()

    @rule()
    def lose_the_cache(self) -> None:
        """The loss of the cache costs nothing that is in the ledger."""
        self.drain()
        self.world.lose_cache()
        self.model.forget()

    @rule(full=st.booleans())
    def reconcile(self, full: bool) -> None:
        assert self.world.reconcile(full=full).breaks == []

    @invariant()
    def what_is_cached_is_what_the_model_says(self) -> None:
        if not hasattr(self, "world"):
            return
        Lifecycle.steps += 1
        for account in self.model.booked:
            funds = self.world.warm(account).funds
            shown = (account, funds.balance_minor, funds.held_minor)
            assert shown == (account, self.model.booked[account], self.model.held(account))
            available = self.model.available(account)
            if available is not None:
                assert (account, funds.available_minor) == (account, available)
                assert available >= min(0, self.model.booked[account] + self.model.limits[account])

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.drain()
            self.what_is_cached_is_what_the_model_says()
            assert {account: self.world.booked(account) for account in self.model.booked} == self.model.booked
            self.world.assert_proven()
        finally:
            self.stack.close()


@pytest.mark.timeout(3_600 if IS_LONG else 300)
def test_every_answer_is_the_one_that_the_model_predicts(few_partitions: Databases, empty_cache: str) -> None:
    Lifecycle.databases, Lifecycle.cache_url = few_partitions, empty_cache
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=150 if IS_LONG else 8,
            stateful_step_count=40 if IS_LONG else 15,
            deadline=None,
            derandomize=not IS_LONG,
            suppress_health_check=list(HealthCheck),
            phases=Phase if IS_LONG else (Phase.reuse, Phase.generate),  # to shrink would outlast the timeout
            report_multiple_bugs=False,
        ),
    )
