"""Posting into a real ledger: all or nothing, and guarded by the database itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.domain.accounts import AccountType
from app.domain.errors import ConcurrencyConflict, Fault, LedgerConstraintViolated, LedgerUnavailable
from app.domain.hash_chain import transactions_from
from app.domain.ledger_rows import KnownOutcome, LedgerBalance, PostingPlan, QueuedIntent, Rejection
from app.domain.money import MAX_MINOR
from app.domain.payment import partition_of
from app.domain.posting_plan import plan_posting
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.connections import translate
from app.ledger.locked_posting import BalanceMismatch
from app.ledger.posting_session import PostingSession
from tests.builders import NOON_MS, PARTITIONS, intent, queued
from tests.patience import PATIENCE_S
from tests.world import World

QUIET = (partition_of("bank", PARTITIONS) + 1) % PARTITIONS
"""A partition that funding has not used."""

LEDGER_TABLES = ("ledger_transaction", "entry", "payment_rejection", "payment_duplicate")


def post(
    ledger: PostingSession, *batch: QueuedIntent, spoil: Callable[[PostingPlan], None] | None = None
) -> PostingPlan:
    """Post a batch as a drain does; `spoil` may tamper with the plan before it is written."""
    with ledger.posting([0, 1, 2, 3]) as posting:
        names = sorted({account_id for one in batch for account_id in one.account_ids})
        balances, contended = posting.lock_balances(names)
        assert not contended
        known, rejected = posting.known_outcomes([one.key for one in batch])
        posted_at = posting.posting_time(balances)
        plan = plan_posting(batch, known, rejected, balances, posting.heads, posted_at)
        if spoil:
            spoil(plan)
        posting.write(plan)
    return plan


@pytest.fixture
def funded(world: World) -> World:
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    return world


def content(world: World) -> dict[str, Any]:
    """Everything that a posting may write."""
    tables = {table: world.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in LEDGER_TABLES}
    tables["account_balance"] = world.rows("SELECT * FROM account_balance ORDER BY account_id")
    tables["partition"] = world.rows("SELECT * FROM partition ORDER BY partition")
    return tables


def test_a_posting_writes_transaction_entries_balances_and_head_together(funded: World) -> None:
    plan = post(funded.new_posting_session(), queued(1, intent(amount_minor=30, external_id="a"), partition=QUIET))
    [transaction] = transactions_from(plan.transactions, plan.entries)
    assert (funded.booked("alice"), funded.booked("bob")) == (70, 30)
    query = (
        "SELECT account_id, entry_number, amount_minor, balance_minor, leg FROM entry WHERE partition = %s ORDER BY leg"
    )
    assert funded.rows(query, QUIET) == [("alice", 2, 30, 70, 0), ("bob", 1, -30, 30, 1)]
    query = "SELECT chain_seq, chain_hash, last_position FROM partition WHERE partition = %s"
    assert funded.rows(query, QUIET) == [(1, transaction.hash, f"{NOON_MS}-1")]
    found = funded.history.posted(transaction.payment_id)
    assert found is not None
    assert (found.external_id, found.posted_at) == ("a", transaction.posted_at)


class Broken(Exception):
    """Raised by a test in the middle of a posting."""


STEPS = (
    "UPDATE account_balance",
    "COPY ledger_transaction",
    "COPY entry",
    "UPDATE partition",
    "INSERT INTO payment_rejection",
    "INSERT INTO payment_duplicate",
)


def break_at(monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> list[str]:
    """Break off before or after the statement that has `step` in it; returns where it broke."""
    execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy
    broken: list[str] = []

    def break_if(now: str, statement: Any) -> None:
        if now == when and step in statement:
            broken.append(step)
            raise Broken

    def broken_execute(self: Any, statement: Any, *args: Any, **more: Any) -> Any:
        break_if("before", statement)
        result = execute(self, statement, *args, **more)
        break_if("after", statement)
        return result

    @contextmanager
    def broken_copy(self: Any, statement: Any, *args: Any, **more: Any) -> Iterator[Any]:
        break_if("before", statement)
        with copy(self, statement, *args, **more) as one:
            yield one
        break_if("after", statement)

    monkeypatch.setattr(psycopg.Cursor, "execute", broken_execute)
    monkeypatch.setattr(psycopg.Cursor, "copy", broken_copy)
    return broken


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_in_the_middle_writes_nothing(
    funded: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    before = content(funded)
    ledger = funded.new_posting_session()
    batch = [
        queued(1, intent(amount_minor=30, external_id="a")),
        queued(2, intent(amount_minor=3_000, external_id="too much")),
        queued(3, intent(amount_minor=30, external_id="a")),
    ]
    with monkeypatch.context() as patched:
        broken = break_at(patched, step, when)
        with pytest.raises(Broken):
            post(ledger, *batch)
    assert broken == [step]
    assert content(funded) == before


def test_a_connection_cut_in_the_middle_writes_nothing_and_the_next_posting_reconnects(funded: World) -> None:
    ledger = funded.new_posting_session()
    before = content(funded)

    def cut(_plan: PostingPlan) -> None:
        funded.rows(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'holdfast drain'"""
        )

    with pytest.raises(LedgerUnavailable):
        post(ledger, queued(1, intent(amount_minor=30, external_id="a")), spoil=cut)
    assert content(funded) == before
    post(ledger, queued(1, intent(amount_minor=30, external_id="a")))
    assert funded.booked("alice") == 70


def before_of(plan: PostingPlan, account_id: str) -> LedgerBalance:
    """The row that an account had before the plan."""
    return next(row for row in plan.balances_before if row.account_id == account_id)


def change_entry(plan: PostingPlan, at: int, **changes: Any) -> None:
    """Change fields of an entry that a plan writes."""
    names = ("account_id", "entry_number", "partition", "chain_seq", "leg", "amount_minor", "balance_minor",
             "currency_code", "posted_at_us")  # fmt: skip
    fields: Any = dict(zip(names, plan.entries[at], strict=True)) | changes
    plan.entries[at] = tuple(fields.values())


def test_balances_that_differ_from_the_plan_undo_the_posting(funded: World) -> None:
    def wrong_delta(plan: PostingPlan) -> None:
        before_of(plan, "bob").balance_minor -= 1

    def wrong_count(plan: PostingPlan) -> None:
        before_of(plan, "bob").entry_count -= 1

    def unknown(plan: PostingPlan) -> None:
        plan.balances["nobody"] = replace(plan.balances["bob"], account_id="nobody")
        plan.balances_before.append(replace(before_of(plan, "bob"), account_id="nobody"))

    before = content(funded)
    for spoil in (wrong_delta, wrong_count, unknown):
        with pytest.raises(BalanceMismatch):
            post(funded.new_posting_session(), queued(1, intent(amount_minor=30, external_id="a")), spoil=spoil)
        assert content(funded) == before


def test_entries_that_do_not_sum_to_zero_are_refused_by_the_database(funded: World) -> None:
    def unbalance(plan: PostingPlan) -> None:
        change_entry(plan, 1, amount_minor=-29)

    before = content(funded)
    with pytest.raises(LedgerConstraintViolated) as raised:
        post(funded.new_posting_session(), queued(1, intent(amount_minor=30, external_id="a")), spoil=unbalance)
    assert raised.value.constraint == "entry_balanced"
    assert content(funded) == before


def test_each_currency_must_sum_to_zero_by_itself(funded: World) -> None:
    def mix(plan: PostingPlan) -> None:
        change_entry(plan, 1, currency_code="USD")

    with pytest.raises(LedgerConstraintViolated) as raised:
        post(funded.new_posting_session(), queued(1, intent(amount_minor=30, external_id="a")), spoil=mix)
    assert raised.value.constraint == "entry_balanced"


def test_each_transaction_must_sum_to_zero_by_itself(funded: World) -> None:
    def shift(plan: PostingPlan) -> None:
        change_entry(plan, 0, amount_minor=31)
        change_entry(plan, 2, amount_minor=29)

    batch = [queued(n, intent(amount_minor=30, external_id=f"x{n}")) for n in range(2)]
    with pytest.raises(LedgerConstraintViolated) as raised:
        post(funded.new_posting_session(), *batch, spoil=shift)
    assert raised.value.constraint == "entry_balanced"


def test_an_entry_of_zero_is_refused(funded: World) -> None:
    with pytest.raises(errors.CheckViolation):
        funded.owner.execute("INSERT INTO entry VALUES ('alice', 9, 0, 99, 0, 0, 0, 'EUR', now())")


# The floor


@pytest.mark.parametrize(
    ("balance", "after", "allowed"),
    [(100, 0, True), (100, -1, False), (-50, -49, True), (-50, -51, False), (-50, 100, True), (-50, -50, True)],
)
def test_a_balance_may_rise_below_its_floor_but_never_fall_there(
    world: World, balance: int, after: int, allowed: bool
) -> None:
    world.account("alice")
    world.tamper(f"UPDATE account_balance SET balance_minor = {balance} WHERE account_id = 'alice'")
    changed = f"balance_minor = {after}, entry_count = entry_count + 1"
    statement = f"UPDATE account_balance SET {changed} WHERE account_id = 'alice'"
    with world.connect(owner=False) as app:
        if allowed:
            app.execute(statement)
        else:
            with pytest.raises(errors.CheckViolation) as raised:
                app.execute(statement)
            assert raised.value.diag.constraint_name == "account_balance_floor"
    assert world.booked("alice") == (after if allowed else balance)


def test_the_database_refuses_an_overdraft_that_every_check_before_it_has_missed(funded: World) -> None:
    def miss(plan: PostingPlan) -> None:
        plan.balances["alice"].balance_minor = -1

    before = content(funded)
    with pytest.raises(LedgerConstraintViolated) as raised:
        post(funded.new_posting_session(), queued(1, intent(amount_minor=30, external_id="a")), spoil=miss)
    assert raised.value.constraint == "account_balance_floor"
    assert content(funded) == before


@pytest.mark.parametrize("balance", [MAX_MINOR, -MAX_MINOR])
def test_the_range_ends_at_the_last_exact_double_on_both_sides(world: World, balance: int) -> None:
    world.account("any", AccountType.EQUITY)
    with world.connect(owner=False) as app:
        app.execute("UPDATE account_balance SET balance_minor = %s, entry_count = 1", (balance,))
        further = "balance_minor = balance_minor + sign(balance_minor)::bigint, entry_count = 2"
        with pytest.raises(errors.CheckViolation) as raised:
            app.execute(f"UPDATE account_balance SET {further}")
    assert raised.value.diag.constraint_name == "account_balance_in_range"


# Once, for ever


def test_an_external_id_is_unique_for_ever_even_without_a_look_up(funded: World) -> None:
    post(funded.new_posting_session(), queued(1, intent(amount_minor=10, external_id="x")))
    before = content(funded)

    def without_looking() -> None:
        batch = [queued(2, intent(amount_minor=10, external_id="x"))]
        with funded.new_posting_session().posting([0]) as posting:
            balances, _ = posting.lock_balances(["alice", "bob"])
            posted_at = posting.posting_time(balances)
            posting.write(plan_posting(batch, {}, (), balances, posting.heads, posted_at))

    with pytest.raises(ConcurrencyConflict):
        without_looking()
    assert content(funded) == before


def test_the_ledger_tells_what_became_of_an_external_id(funded: World) -> None:
    ledger = funded.new_posting_session()
    good, bad = (
        queued(1, intent(amount_minor=10, external_id="good")),
        queued(2, intent(amount_minor=999, external_id="bad")),
    )
    post(ledger, good, bad)
    with ledger.posting([0]) as posting:
        keys = [("default", "good"), ("default", "bad"), ("default", "unknown"), ("other", "good")]
        known, rejected = posting.known_outcomes(keys)
    assert known == {
        ("default", "good"): KnownOutcome(good.outbox_position.payment_id, good.intent.fingerprint, posted=True),
        ("default", "bad"): KnownOutcome(bad.outbox_position.payment_id, bad.intent.fingerprint, posted=False),
    }
    assert rejected == {bad.outbox_position.payment_id}


def test_names_that_look_like_an_arrays_text_are_found_again(funded: World) -> None:
    names = ['a"b', "c\\d", '\\"', "{e}", "f,g", "NULL", "", " ü ", "'"]
    batch = [queued(n + 1, intent(amount_minor=1, external_id=name)) for n, name in enumerate(names)]
    ledger = funded.new_posting_session()
    assert len(post(ledger, *batch).transactions) == len(names)
    assert len(post(ledger, *batch).redelivered) == len(names)
    for name in names:
        with ledger.posting([0]) as posting:
            assert posting.lock_balances([name]) == ({}, set())
            assert posting.known_outcomes([("default", name)])[0].keys() == {("default", name)}


def test_a_name_that_no_text_can_hold_is_refused_by_the_ledger(funded: World) -> None:
    with pytest.raises(LedgerConstraintViolated), funded.new_posting_session().posting([0]) as posting:
        posting.known_outcomes([("default", "a\0b"), ("default", "c")])


def test_a_rejection_keeps_the_whole_intent_and_the_reason(funded: World) -> None:
    wanted = intent(amount_minor=999, external_id="bad", description="Zürich", metadata={"a": [1, {"☃": None}]})
    post(funded.new_posting_session(), queued(2, wanted))
    found = funded.history.rejected(queued(2).outbox_position.payment_id)
    assert found is not None
    assert found.refusal.code == RefusalCode.INSUFFICIENT_FUNDS
    assert found.refusal.figures["balance_minor"] == 100
    assert (found.intent["description"], found.intent["metadata"]) == ("Zürich", {"a": [1, {"☃": None}]})
    assert found.intent["legs"] == [
        {"account_id": "alice", "amount_minor": 999},
        {"account_id": "bob", "amount_minor": -999},
    ]


def test_history_never_runs_backwards_within_a_partition(funded: World) -> None:
    ledger = funded.new_posting_session()
    funded.tamper("UPDATE partition SET last_posted_at = last_posted_at + interval '1 hour' WHERE partition = 0")
    for n in range(3):
        post(ledger, queued(n + 1, intent(amount_minor=1, external_id=f"x{n}")))
    assert funded.rows(
        "SELECT min(posted_at) >= now() + interval '30 minutes' FROM ledger_transaction WHERE partition = 0"
    ) == [(True,)]
    assert funded.rows(
        """SELECT count(*) FROM (SELECT posted_at < lag(posted_at) OVER (PARTITION BY partition ORDER BY chain_seq)
        AS back FROM ledger_transaction) AS steps WHERE back"""
    ) == [(0,)]


# Locks


def test_partitions_that_another_drain_holds_are_skipped(funded: World) -> None:
    first, second = funded.new_posting_session(), funded.new_posting_session()
    with first.draining([1]) as held:
        assert held == [1]
        with second.draining([0, 1, 2]) as others:
            assert sorted(others) == [0, 2]
        with second.draining([1]) as none:
            assert none == []
    with second.draining([1]) as free_again:
        assert free_again == [1]


def test_the_partitions_of_a_drain_that_dies_are_free_at_once(funded: World) -> None:
    dying, next_one = funded.new_posting_session(), funded.new_posting_session()
    with suppress(LedgerUnavailable), dying.draining([1]):
        funded.rows(
            """SELECT pg_terminate_backend(pid, 60000) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND datname = current_database()"""
        )
        with next_one.draining([1]) as held:
            assert held == [1]


def test_accounts_locked_by_somebody_else_are_named_and_unknown_ones_are_not(funded: World) -> None:
    with funded.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'bob' FOR UPDATE")
        with funded.new_posting_session().posting([0]) as posting:
            locked, contended = posting.lock_balances(["alice", "bob", "nobody"])
    assert (set(locked), contended) == ({"alice"}, {"bob"})


def test_a_row_changed_since_the_snapshot_is_a_conflict(funded: World) -> None:
    with funded.new_posting_session().posting([0]) as posting:
        funded.owner.execute("UPDATE account_balance SET version = version + 1 WHERE account_id = 'alice'")
        with pytest.raises(errors.SerializationFailure) as raised:
            posting.lock_balances(["alice"])
        assert isinstance(translate(raised.value), ConcurrencyConflict)


def test_conflicts_are_counted_by_account_and_add_up(world: World) -> None:
    ledger = world.new_posting_session()
    ledger.conflicts.count(["alice", "bob"], retries=1, exhausted=0)
    ledger.conflicts.count(["alice"], retries=2, exhausted=1)
    assert world.conflicts() == {"alice": (3, 1), "bob": (1, 0)}
    assert [(one.account_id, one.retries) for one in world.history.conflicts(10)] == [("alice", 3), ("bob", 1)]


def test_two_drains_that_count_the_same_hot_account_at_once_are_both_counted(world: World) -> None:
    """A conflict while counting conflicts would end a drain's round because of a statistic."""
    failures: list[Fault] = []

    def count() -> None:
        try:
            world.new_posting_session().conflicts.count(["hot"], retries=1, exhausted=0)
        except Fault as fault:
            failures.append(fault)

    world.new_posting_session().conflicts.count(["hot"], retries=1, exhausted=0)
    second = Thread(target=count)
    with world.connect() as first, first.transaction():
        first.execute("UPDATE conflict_count SET retries = retries + 1")
        second.start()
        while second.is_alive() and not world.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
            pass
    second.join(timeout=PATIENCE_S)
    assert failures == []
    assert world.conflicts() == {"hot": (3, 0)}


def test_a_conflict_is_traced_to_rows_locked_or_changed_since_the_snapshot(funded: World) -> None:
    ledger = funded.new_posting_session()
    with ledger.posting([0]):
        funded.owner.execute("UPDATE account_balance SET version = version + 1 WHERE account_id = 'alice'")
    with funded.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM account_balance WHERE account_id = 'bob' FOR UPDATE")
        assert ledger.conflicts.accounts(["alice", "bank", "bob"]) == {"alice", "bob"}
    assert ledger.conflicts.accounts(["alice", "bank", "bob"]) == {"alice"}


# Errors


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (errors.SerializationFailure(), ConcurrencyConflict),
        (errors.DeadlockDetected(), ConcurrencyConflict),
        (errors.LockNotAvailable(), ConcurrencyConflict),
        (errors.CheckViolation(), LedgerConstraintViolated),
        (errors.NotNullViolation(), LedgerConstraintViolated),
        (errors.UniqueViolation(), LedgerConstraintViolated),
        (errors.CharacterNotInRepertoire(), LedgerConstraintViolated),
        (psycopg.DataError(), LedgerConstraintViolated),
        (errors.AdminShutdown(), LedgerUnavailable),
        (errors.QueryCanceled(), LedgerUnavailable),
        (psycopg.OperationalError(), LedgerUnavailable),
        (psycopg.InterfaceError(), LedgerUnavailable),
        (errors.UndefinedTable(), errors.UndefinedTable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_each_driver_error_becomes_a_fault_of_the_project(error: psycopg.Error, fault: type[Exception]) -> None:
    assert type(translate(error)) is fault


def test_a_ledger_that_cannot_be_reached_is_unavailable(world: World) -> None:
    nowhere = world.urls.database_url.rpartition("@")[0] + "@127.0.0.1:1/ledger"
    with pytest.raises(LedgerUnavailable), PostingSession(nowhere).posting([0]):
        pass


def test_values_that_no_column_can_store_reject_the_payment_and_do_not_stop_the_drain(funded: World) -> None:
    poison = queued(1, intent(amount_minor=1, external_id="poison", description="a\x00b"))
    with pytest.raises(Fault) as raised:
        post(funded.new_posting_session(), poison)
    assert isinstance(raised.value, LedgerConstraintViolated)
    with suppress(psycopg.Error):
        funded.rows("SELECT 1")


def test_a_payment_that_breaks_its_posting_can_still_be_recorded_as_rejected(funded: World) -> None:
    poison = queued(
        1, intent(amount_minor=1, external_id="poison", description="a\x00b", metadata={"k\x00": ["v\x00"]})
    )
    with funded.new_posting_session().posting([0]) as posting:
        refusal = Refusal(RefusalCode.REJECTED_BY_LEDGER, "a\x00b", {"constraint": "\x00"})
        posting.write(PostingPlan(posting.posting_time({}), rejections=[Rejection(poison, refusal)]))
    assert funded.history.rejected(poison.outbox_position.payment_id) is not None
