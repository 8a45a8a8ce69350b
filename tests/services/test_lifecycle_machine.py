"""The whole life of money, in any order, over real servers, against a model on paper that predicts every answer."""

import os
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4
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
from app.services.posting.journal_posting import JournalHolds, JournalPoster
from app.services.posting.journals import Journals
from tests.builders import PARTITIONS, World
from tests.databases import Databases

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
ACTOR = "key:test"
REASON = "a test"
WALLETS = ("alice", "bob", "carol", "dave")
ACCOUNTS = (*WALLETS, "bank")
FIRST_LIMITS = {"alice": 0, "bob": 0, "carol": 50, "dave": 50}
BARS_DEBITS = ("frozen", "frozen_debits")
BARS_CREDITS = ("frozen", "frozen_credits")

OK, AGAIN = "accepted", "replayed"

Part = tuple[str, str, Any]
"""A destination as asked for: account, and fixed (minor units), share (a decimal) or remainder."""


# The model


@dataclass(frozen=True)
class Content:
    """What a payment asks for."""

    source: str
    destinations: tuple[Part, ...]
    amount: int
    manual: bool = False


@dataclass
class Movement:
    """What is promised and not yet booked: what is held of its payer, and what will be credited to whom."""

    external_id: str
    source: str
    held: int
    credits: list[tuple[str, int]]
    concludes: bool = False


@dataclass
class Paid:
    """A payment with an id: pending, posted, authorized, captured (and pending still), voided or expired."""

    source: str
    credits: list[tuple[str, int]]
    state: str
    is_hold: bool
    captured: int = 0
    refunded: dict[str, int] = field(default_factory=dict)

    @property
    def amount(self) -> int:
        return sum(part for _, part in self.credits)


def largest_remainder(exact: list[Fraction]) -> list[int]:
    """Whole numbers with the sum of the fractions: rounded down, what is left to those that lost most."""
    parts = [int(one) for one in exact]
    losers = sorted(range(len(exact)), key=lambda n: (parts[n] - exact[n], n))
    for n in losers[: int(sum(exact)) - sum(parts)]:
        parts[n] += 1
    return parts


def in_proportion(total: int, weights: list[tuple[str, int]]) -> list[tuple[str, int]]:
    whole = sum(weight for _, weight in weights)
    parts = largest_remainder([Fraction(total * weight, whole) for _, weight in weights])
    return [(account, part) for (account, _), part in zip(weights, parts, strict=True) if part]


def split(content: Content) -> list[tuple[str, int]] | None:
    """What each destination gets; None where it does not come to the whole amount."""
    total = content.amount
    asked = content.destinations
    shared = largest_remainder([Fraction(of) * total if how == "share" else Fraction(0) for _, how, of in asked])
    exact = sum(Fraction(of) * total if how == "share" else of for _, how, of in asked if how != "remainder")
    takers = [n for n, (_, how, _) in enumerate(asked) if how == "remainder"]
    if exact > total or (exact < total and not takers):
        return None
    parts = [of if how == "fixed" else shared[n] for n, (_, how, of) in enumerate(asked)]
    for n in takers:
        parts[n] = total - sum(parts)
    return [(account, part) for (account, _, _), part in zip(asked, parts, strict=True) if part]


@dataclass
class Model:
    """Double entry on paper: what is booked, what is promised, what was answered."""

    booked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    limits: dict[str, int] = field(default_factory=lambda: dict(FIRST_LIMITS))
    status: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, "open"))
    pending: list[Movement] = field(default_factory=list)
    paid: dict[str, Paid] = field(default_factory=dict)
    records: dict[str, tuple[Content, str]] = field(default_factory=dict)
    in_ledger: dict[str, Content] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    journals: dict[str, dict[str, int]] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    refunds: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    # Funds

    def held(self, account: str) -> int:
        promised = sum(one.held for one in self.pending if one.source == account)
        open_holds = (one for one in self.paid.values() if one.state == "authorized" and one.source == account)
        return 0 if account == "bank" else promised + sum(one.amount for one in open_holds)

    def available(self, account: str) -> int | None:
        """What may be spent; None is without limit."""
        if account == "bank":
            return None
        return self.booked[account] - self.held(account) + self.limits[account]

    def has(self, account: str, amount: int) -> bool:
        available = self.available(account)
        return available is None or amount <= available

    def barred(self, debited: list[str], credited: list[str]) -> bool:
        return any(self.status[one] in BARS_DEBITS for one in debited) or any(
            self.status[one] in BARS_CREDITS for one in credited
        )

    def move(self, debits: dict[str, int]) -> None:
        """Book amounts, debits positive: they lower every wallet and raise the bank."""
        assert sum(debits.values()) == 0
        for account, amount in debits.items():
            self.booked[account] += amount if account == "bank" else -amount

    def open(self, account: str) -> None:
        """One more wallet, without an overdraft."""
        self.booked[account], self.limits[account], self.status[account] = 0, 0, "open"

    def is_empty(self, account: str) -> bool:
        """Whether nothing is on an account, on its way to it or from it, or promised."""
        promised = [one for one in self.paid.values() if one.state == "authorized"]
        moving = [*self.pending, *promised]
        touched = {one.source for one in moving} | {account for one in moving for account, _ in one.credits}
        return not self.booked[account] and account not in touched

    # Payments

    def pay(self, external_id: str, content: Content) -> str:
        """What Holdfast must answer, and what follows from it."""
        self.contents.setdefault(external_id, content)
        destinations = [account for account, _, _ in content.destinations]
        record = self.records.get(external_id)
        if content.source in destinations:
            return "accounts_equal"
        if self.barred([content.source], destinations):
            known = record is not None and record[0] == content and split(content) is not None
            return self._again(external_id, content) if known else "account_frozen"
        credits = split(content)
        if credits is None:
            return "splits_do_not_add_up"
        if record is not None:
            return self._again(external_id, content) if record[0] == content else "external_id_reused"
        if not self.has(content.source, content.amount):
            self.records[external_id] = (content, "insufficient_funds")
            return self._again(external_id, content)
        self.records[external_id] = (content, OK)
        if external_id in self.in_ledger:  # the cache has forgotten it, the ledger has not
            self._promise(external_id, content, credits)
            return OK
        if content.manual:
            self.paid[external_id] = Paid(content.source, credits, "authorized", is_hold=True)
            return OK
        self._promise(external_id, content, credits)
        self.paid[external_id] = Paid(content.source, credits, "pending", is_hold=False)
        return OK

    def _promise(self, external_id: str, content: Content, credits: list[tuple[str, int]]) -> None:
        held = 0 if content.source == "bank" else content.amount
        self.pending.append(Movement(external_id, content.source, held, credits))

    def _again(self, external_id: str, content: Content) -> str:
        if self.records[external_id][1] == OK:
            return AGAIN
        if external_id not in self.in_ledger:
            return "insufficient_funds"
        return AGAIN if self.in_ledger[external_id] == content else "external_id_reused"

    def batch(self, wanted: list[tuple[str, Content]]) -> list[str]:
        """All or none; the external ids are new."""
        for n, (_, content) in enumerate(wanted):
            trial = deepcopy(self)
            trial.limits = dict.fromkeys(WALLETS, 10**9)
            code = trial.pay("trial", content)
            if code != OK:
                return _linked(len(wanted), n, code)
        if len({crc32(content.source.encode()) % PARTITIONS for _, content in wanted}) > 1:
            return ["batch_crosses_partitions"] * len(wanted)
        trial = deepcopy(self)
        for n, (external_id, content) in enumerate(wanted):
            code = trial.pay(external_id, content)
            if code != OK:
                return _linked(len(wanted), n, code)
        return [self.pay(external_id, content) for external_id, content in wanted]

    # Authorizations

    def conclude(self, key: str, state: str, amount: int) -> str:
        one = self.paid[key]
        if amount > one.amount:
            return "capture_exceeds_hold"
        if one.state != "authorized":
            ended = "captured" if one.state == "posted" else one.state
            if (ended, one.captured) == (state, amount):
                return AGAIN
            return "hold_expired" if ended == "expired" else f"hold_already_{ended}"
        one.state, one.captured = state, amount
        if amount:
            credits = in_proportion(amount, one.credits)
            held = 0 if one.source == "bank" else amount
            self.pending.append(Movement(key, one.source, held, credits, concludes=True))
        return OK

    # Journals and refunds

    def post(self, debits: dict[str, int]) -> str:
        """What a journal of these debits and credits (negative) answers, and what follows."""
        if self.barred([a for a, d in debits.items() if d > 0], [a for a, d in debits.items() if d < 0]):
            return "account_frozen"
        if sum(debits.values()):
            return "journal_unbalanced"
        if not all(self.has(account, amount) for account, amount in debits.items() if amount > 0):
            return "insufficient_funds"
        self.move(debits)
        return OK

    def refund(self, key: str, amount: int | None) -> str:
        one = self.paid[key]
        if one.state != "posted":
            return "payment_not_posted"
        credits = in_proportion(one.captured, one.credits) if one.is_hold else one.credits
        left = [(account, part - one.refunded.get(account, 0)) for account, part in credits]
        remaining = sum(part for _, part in left)
        wanted = remaining if amount is None else amount
        if not remaining or wanted > remaining:
            return "refund_exceeds_payment"
        parts = in_proportion(wanted, left)
        answer = self.post({**dict(parts), one.source: -wanted})
        if answer == OK:
            for account, part in parts:
                one.refunded[account] = one.refunded.get(account, 0) + part
        return answer

    # The clockwork

    def drain(self) -> None:
        """Everything promised is booked, each external id once."""
        for one in self.pending:
            if not one.concludes and one.external_id in self.in_ledger:
                continue
            self.move({**{account: -part for account, part in one.credits}, one.source: sum(p for _, p in one.credits)})
            self.paid[one.external_id].state = "posted"
        self.pending = []
        for external_id, (content, code) in self.records.items():
            if code == OK:
                self.in_ledger[external_id] = content

    def forget(self) -> None:
        self.records = {}


def _linked(count: int, failed: int, code: str) -> list[str]:
    return [code if n == failed else "linked_payment_failed" for n in range(count)]


# The machine


class Overdue:
    """The register of authorizations, in which the time of one is over."""

    def __init__(self, register: Any, hold: Authorization) -> None:
        self._register = register
        self._hold = hold

    def due(self, now: datetime, limit: int) -> list[Authorization]:
        return [replace(self._hold, expires_at=now - timedelta(hours=1))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._register, name)


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
            holds=JournalHolds(world.cache),
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
        """The same again; or something else under an external id that the cache remembers."""
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

    def some_hold(self, index: int) -> str:
        keys = [key for key, one in self.model.paid.items() if one.is_hold]
        return keys[index % len(keys)]

    has_holds = precondition(lambda self: any(one.is_hold for one in self.model.paid.values()))

    @has_holds
    @rule(index=indexes, amount=st.one_of(st.none(), st.integers(1, 130)))
    def capture(self, index: int, amount: int | None) -> None:
        key = self.some_hold(index)
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
        """Shares that seldom come out even, captured in part: what is left over goes where the model says."""
        source, *to = names
        content = Content(source, tuple((one, "share", of) for one, of in zip(to, shares, strict=False)), amount, True)
        self.pay(content)
        key = f"pay-{self.number}"
        if key in self.model.paid:
            taken = max(1, amount * percent // 100)
            expected = self.model.conclude(key, "captured", taken)
            self.check(self.authorizations.capture(self.ids[key], taken, ACTOR), expected)

    @has_holds
    @rule(index=indexes)
    def void(self, index: int) -> None:
        key = self.some_hold(index)
        expected = self.model.conclude(key, "voided", 0)
        self.check(self.authorizations.void(self.ids[key], ACTOR), expected)

    @has_holds
    @rule(index=indexes)
    def expire(self, index: int) -> None:
        key = self.some_hold(index)
        expected = self.model.conclude(key, "expired", 0)
        found = self.authorizations.find(self.ids[key])
        assert found is not None
        register = Overdue(self.world.ledger_authorizations, found)
        clock = self.world.new_payment_services(ledger_authorizations=register).authorizations
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
        """The same again, or another amount under the same external id."""
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
        """Below the balance it may lie, but not below what authorizations hold."""
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
        """What is not empty stays as it is; none of these is closed, for the others would have nobody to pay."""
        self.drain()
        if not self.model.is_empty(account):
            outcome = self.changes.change(account, AccountPatch({"status": AccountStatus.CLOSED}, REASON), ACTOR)
            self.check(outcome, "account_not_empty")

    @rule(amount=amounts, back=st.booleans())
    def live_shortly(self, amount: int, back: bool) -> None:
        """An account that is opened, paid and, once it is empty again, closed for good."""
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

    # Clockwork

    @rule()
    def drain(self) -> None:
        self.world.drain()
        self.model.drain()

    @rule()
    def lose_the_cache(self) -> None:
        """Nothing that is in the ledger is lost."""
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
def test_the_whole_life_of_money_goes_as_the_model_says(few_partitions: Databases, empty_cache: str) -> None:
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
