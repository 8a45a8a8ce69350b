"""Somebody has the connection of the app's role: each forgery is refused by the database, or found by the proofs."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from app.domain.breaks import BreakKind
from app.domain.hash_chain import GENESIS_HASH, LedgerTransaction, chain_hash
from tests.ledger.attacker import Attacker
from tests.services.tampering import authorize, kinds
from tests.world import World

UNKNOWN_PARTITION = 99


@pytest.fixture
def settled(world: World) -> World:
    """Alice and Bob with a history, all of it posted, and proved."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob", balance_minor=50)
    world.account("carol", currency_code="USD")
    for amount in (10, 20, 30):
        world.accepted("alice", "bob", amount)
    authorize(world, 5)
    world.drain()
    world.assert_proven()
    return world


Forgery = Callable[[Attacker], object]


def says(*statements: str) -> Forgery:
    return lambda attacker: [attacker.run(statement) for statement in statements]


# Heads, cursors, exports


def head_without_rows(attacker: Attacker) -> None:
    attacker.move_head(attacker.transaction(attacker.theft()))


def head_before_its_entries(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.move_head(one)
    attacker.write_transactions(one)


def head_to_another_hash(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.move_head(replace(one, hash=bytes(32)))
    attacker.write_balances(one.entries)
    attacker.write_transactions(one)
    attacker.write_entries(one)


def head_over_a_gap(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    one.chain_seq += 1
    one.hash = chain_hash(one)
    attacker.post(one)


def head_that_stays(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.write_balances(one.entries)
    attacker.write_transactions(one)
    attacker.write_entries(one)


def export_a_wrong_head(attacker: Attacker) -> None:
    attacker.run("INSERT INTO chain_head_export VALUES (%s, 2, '\\x00')", attacker.partition)


def export_a_head_to_come(attacker: Attacker) -> None:
    attacker.run("INSERT INTO chain_head_export VALUES (%s, 99, '\\x00')", attacker.partition)


def move_a_cursor_over_a_forgery(attacker: Attacker) -> None:
    attacker.post(attacker.transaction(attacker.theft(), hash=bytes(32)))
    attacker.run("UPDATE reconciliation_cursor c SET chain_seq = p.chain_seq FROM partition p WHERE p = p AND"
                 " c.partition = p.partition")  # fmt: skip


# Entries and transactions


def entries_without_transaction(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft(), partition=0 if attacker.partition else 1)
    attacker.write_balances(one.entries)
    attacker.write_entries(one)


def entries_of_an_unknown_partition(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft(), partition=UNKNOWN_PARTITION)
    attacker.write_balances(one.entries)
    attacker.write_entries(one)


def entries_of_an_old_transaction(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    one.chain_seq -= 1
    attacker.write_balances(one.entries)
    attacker.write_entries(one)


def entries_of_an_old_transaction_beside_a_new_one(attacker: Attacker) -> None:
    new = attacker.transaction(attacker.theft())
    old = attacker.transaction([attacker.entry("bank", 7, entry_number=90), attacker.entry("bob", -7, entry_number=90)])
    old.chain_seq -= 1
    attacker.move_head(new)
    attacker.write_transactions(new)
    attacker.write_entries(old, new)


def a_transaction_of_an_unknown_partition(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft(), partition=UNKNOWN_PARTITION)
    attacker.write_transactions(one)
    attacker.write_balances(one.entries)
    attacker.write_entries(one)


def entries_for_one_of_two(attacker: Attacker) -> None:
    first = attacker.transaction(attacker.theft())
    second = replace(first, chain_seq=first.chain_seq + 1, previous_hash=first.hash, payment_id="p2", external_id="p2")
    second.hash = chain_hash(second)
    attacker.move_head(second)
    attacker.write_transactions(first, second)
    attacker.write_entries(second)


def entries_that_do_not_balance(attacker: Attacker) -> None:
    attacker.post(attacker.transaction([attacker.entry("bank", 100), attacker.entry("bob", -200)]))


def entries_that_do_not_run_on(attacker: Attacker) -> None:
    attacker.post(attacker.transaction([attacker.entry("bank", 100), attacker.entry("bob", -100, balance_minor=9_999)]))


def entries_with_a_gap(attacker: Attacker) -> None:
    attacker.post(attacker.transaction([attacker.entry("bank", 100), attacker.entry("bob", -100, entry_number=77)]))


def euros_onto_a_dollar_account(attacker: Attacker) -> None:
    entries = [attacker.entry("bank", 100), attacker.entry("carol", -100, currency_code="EUR")]
    attacker.post(attacker.transaction(entries))


def entries_of_another_time(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.write_balances(one.entries)
    attacker.move_head(one)
    attacker.write_transactions(one)
    attacker.write_entries(replace(one, posted_at=one.posted_at - timedelta(days=30)))


def another_entity(attacker: Attacker) -> None:
    attacker.post(attacker.transaction(attacker.theft(), entity_id="other"))


def a_wrong_hash(attacker: Attacker) -> None:
    attacker.post(attacker.transaction(attacker.theft(), hash=bytes(32)))


def a_wrong_link(attacker: Attacker) -> None:
    attacker.post(attacker.transaction(attacker.theft(), previous_hash=bytes(31) + b"x"))


def dated(days: int) -> Forgery:
    def forge(attacker: Attacker) -> None:
        (now,) = attacker.one("SELECT clock_timestamp()")
        moment: datetime = now + timedelta(days=days)
        attacker.post(attacker.transaction(attacker.theft(), posted_at=moment, accepted_at=moment, effective_at=moment))

    return forge


# Balances and accounts


def balances_without_entries(attacker: Attacker) -> None:
    attacker.write_balances(attacker.theft())


def entries_without_balances(attacker: Attacker) -> None:
    attacker.post(attacker.transaction(attacker.theft()), balances=False)


def behind_a_table_of_its_own(attacker: Attacker) -> None:
    """A temporary table is found first by its name, so a guard that names no schema would look into it."""
    for table in ("partition", "ledger_transaction", "entry", "account"):
        attacker.run(f"CREATE TEMPORARY TABLE {table} (LIKE public.{table})")
    one = LedgerTransaction(
        attacker.partition, 50, "default", "x", "payment", "p", None, "f", "a", None, None,
        *[datetime.fromisoformat("2026-01-31T12:00:00Z")] * 3, [], bytes(32), bytes(32),
    )  # fmt: skip
    attacker.write_transactions(one)
    attacker.run("INSERT INTO pg_temp.partition VALUES (%s, 50, '\\x00', '', now())", attacker.partition)
    attacker.run("INSERT INTO public.entry VALUES ('bank', 90, %s, 50, 0, 9, 9, 'EUR', now()),"
                 " ('bob', 90, %s, 50, 1, -9, 9, 'EUR', now())", attacker.partition, attacker.partition)  # fmt: skip


BALANCE = "UPDATE account_balance SET"
BOTH = "WHERE account_id IN ('bank', 'bob')"
EVENT = "INSERT INTO audit_event (actor, action, subject, detail) VALUES"
KEY = "INSERT INTO api_key (key_id, name, secret_hash, scopes) VALUES ('abc', 'x', '\\x00', '{admin}')"

REFUSED = "refused"
FORGERIES: dict[str, tuple[Forgery, str | BreakKind]] = {
    "all heads set back to nothing": (says("UPDATE partition SET chain_seq = 0"), "partition_head_founded"),
    "heads and cursors set back, hashes too": (
        says(
            f"UPDATE partition SET chain_seq = 0, chain_hash = '\\x{GENESIS_HASH.hex()}'",
            "UPDATE reconciliation_cursor SET chain_seq = 0",
        ),
        "partition_head_founded",
    ),
    "a head set back by one": (
        says("UPDATE partition p SET chain_seq = chain_seq - 1, chain_hash = (SELECT previous_hash"
             " FROM ledger_transaction t WHERE (t.partition, t.chain_seq) = (p.partition, p.chain_seq))"
             " WHERE chain_seq > 0"),
        "partition_head_founded",
    ),
    "a head moved beyond the rows": (head_without_rows, "partition_head_founded"),
    "a head moved over a transaction without entries": (head_before_its_entries, "partition_head_founded"),
    "a head with another hash": (
        says("UPDATE partition SET chain_hash = sha256(chain_hash)"),
        "partition_head_founded",
    ),
    "a head moved forward to another hash": (head_to_another_hash, "partition_head_founded"),
    "a head moved over a gap": (head_over_a_gap, "partition_head_founded"),
    "a head that stays behind its rows": (head_that_stays, "ledger_transaction_chained"),
    "a head dated in the future": (
        says("UPDATE partition SET last_posted_at = now() + interval '1 year'"),
        "partition_head_founded",
    ),
    "an exported head with another hash": (export_a_wrong_head, "chain_head_export_founded"),
    "an exported head to come": (export_a_head_to_come, "chain_head_export_founded"),
    "a cursor beyond its chain": (
        says("UPDATE reconciliation_cursor SET chain_seq = 99"),
        "reconciliation_cursor_founded",
    ),
    "a cursor moved over a forgery": (move_a_cursor_over_a_forgery, BreakKind.CHAIN_HASH),
    "entries without a transaction, and balances": (entries_without_transaction, "entry_of_new_transaction"),
    "entries of an unknown partition": (entries_of_an_unknown_partition, "entry_of_new_transaction"),
    "more entries of an old transaction": (entries_of_an_old_transaction, "entry_of_new_transaction"),
    "more entries of an old one beside a new one": (
        entries_of_an_old_transaction_beside_a_new_one,
        "entry_of_new_transaction",
    ),
    "a transaction of an unknown partition": (a_transaction_of_an_unknown_partition, "ledger_transaction_chained"),
    "entries for one of two transactions": (entries_for_one_of_two, "partition_head_founded"),
    "entries that do not balance": (entries_that_do_not_balance, "entry_balanced"),
    "entries that do not run on": (entries_that_do_not_run_on, BreakKind.ENTRY_RUNNING_BALANCE),
    "entries with a gap": (entries_with_a_gap, BreakKind.ENTRY_GAP),
    "euros onto a dollar account": (euros_onto_a_dollar_account, BreakKind.ENTRY_MISMATCH),
    "entries of another time": (entries_of_another_time, BreakKind.ENTRY_MISMATCH),
    "a transaction of another entity": (another_entity, BreakKind.ENTRY_MISMATCH),
    "a transaction with a wrong hash": (a_wrong_hash, BreakKind.CHAIN_HASH),
    "a transaction with a wrong link": (a_wrong_link, "partition_head_founded"),
    "a transaction dated 30 days back": (dated(-30), "partition_head_founded"),
    "a transaction dated 30 days ahead": (dated(30), BreakKind.CHAIN_TIME),
    "entries without their balances": (entries_without_balances, BreakKind.BALANCE_NOT_SUM),
    "balances without their entries": (balances_without_entries, BreakKind.BALANCE_NOT_SUM),
    "a balance raised": (
        says(f"{BALANCE} balance_minor = balance_minor + 9 WHERE account_id = 'bob'"),
        "account_balance_explained",
    ),
    "balances raised together": (
        says(f"{BALANCE} balance_minor = balance_minor + 9 {BOTH}"),
        "account_balance_explained",
    ),
    "an entry count lowered": (says(f"{BALANCE} entry_count = entry_count - 1 {BOTH}"), "account_balance_explained"),
    "an entry count raised": (says(f"{BALANCE} entry_count = entry_count + 1 {BOTH}"), BreakKind.ENTRY_GAP),
    "a version set back": (says(f"{BALANCE} version = 0 {BOTH}"), "account_balance_explained"),
    "a floor lowered": (says(f"{BALANCE} floor_minor = -500 WHERE account_id = 'bob'"), "account_balance_facts"),
    "a floor taken away": (says(f"{BALANCE} floor_minor = NULL WHERE account_id = 'bob'"), "account_balance_facts"),
    "a limit raised, and the floor with it": (
        says(f"{BALANCE} floor_minor = -500 WHERE account_id = 'bob'",
             "UPDATE account SET overdraft_limit_minor = 500 WHERE account_id = 'bob'"),
        BreakKind.AUDIT_MISMATCH,
    ),
    "an account frozen without a word": (says("UPDATE account SET status = 'frozen'"), BreakKind.AUDIT_MISMATCH),
    "an account that begins with money": (
        says("INSERT INTO account VALUES ('eve', 'default', 'liability', 'EUR', NULL, 0, 'open', NULL, 'key:test')",
             "INSERT INTO account_balance (account_id, entity_id, currency_code, normal_sign, floor_minor,"
             " balance_minor) VALUES ('eve', 'default', 'EUR', -1, 0, 500)"),
        "account_balance_begins_empty",
    ),
    "an account without a balance": (
        says("INSERT INTO account VALUES ('eve', 'default', 'liability', 'EUR', NULL, 0, 'open', NULL, 'key:test')"),
        "account_balance_facts",
    ),
    "an account of two signs": (
        says("INSERT INTO account VALUES ('eve', 'default', 'liability', 'EUR', NULL, 0, 'open', NULL, 'key:test')",
             "INSERT INTO account_balance (account_id, entity_id, currency_code, normal_sign, floor_minor)"
             " VALUES ('eve', 'default', 'EUR', 1, 0)"),
        "account_balance_facts",
    ),
    "guards made to look into tables of one's own": (behind_a_table_of_its_own, "entry_of_new_transaction"),
    "an authorization ended without a word": (
        says("UPDATE hold SET state = 'voided', concluded_by = 'x', concluded_at = now()"),
        BreakKind.AUTHORIZATION_MISMATCH,
    ),
    "the history of no authorization": (
        says("INSERT INTO hold_event (payment_id, state, amount_minor, actor) VALUES ('x', 'authorized', 5, 'key:x')"),
        BreakKind.AUTHORIZATION_MISMATCH,
    ),
    "a repeat of nothing": (
        says("INSERT INTO payment_duplicate (payment_id, original_payment_id) VALUES ('x', 'y')"),
        BreakKind.DUPLICATE_WITHOUT_ORIGINAL,
    ),
    "a posted payment rejected": (
        says("INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures,"
             " intent) SELECT payment_id, entity_id, external_id, fingerprint, 'x', 'x', '{}', '{}'"
             " FROM ledger_transaction LIMIT 1"),
        BreakKind.ANSWERED_TWICE,
    ),
    "a signed head that no chain has": (
        says("INSERT INTO signed_head (partition, chain_seq, chain_hash, merkle_root, signed_at, key_id, signature)"
             " VALUES (0, 99, sha256('x'), sha256('x'), now(), 'x', sha256('x') || sha256('y'))"),
        "signed_head_founded",
    ),
    "a node of a Merkle tree before its time": (
        says("INSERT INTO merkle_subtree VALUES (0, 8, 0, sha256('x'))"),
        "merkle_subtree_founded",
    ),
    "a key under another id": (
        says("INSERT INTO signing_key VALUES ('x', sha256('x'), now(), NULL, sha256('x') || sha256('y'))"),
        "signing_key_endorsed",
    ),
    "another name of the ledger": (says("UPDATE ledger_identity SET ledger_id = 'x'"), REFUSED),
    "a key that may do everything": (says(KEY), REFUSED),
    "a revoked key revived": (says("UPDATE api_key SET revoked_at = NULL"), REFUSED),
    "a key revoked": (says("UPDATE api_key SET revoked_at = now()"), REFUSED),
    "the event of a key": (says(f"{EVENT} ('command line', 'key.create', 'abc', '{{}}')"), "audit_event_of_owner"),
    "the event of an account that is not there": (
        says(f"{EVENT} ('key:boss', 'account.create', 'eve', '{{}}')"),
        BreakKind.AUDIT_MISMATCH,
    ),
    "the event of an account by somebody else": (
        says(f"{EVENT} ('key:boss', 'account.create', 'bob', '{{}}')"),
        BreakKind.AUDIT_MISMATCH,
    ),
    "the event of a change that was not made": (
        says(f"""{EVENT} ('key:boss', 'account.change', 'bob', '{{"after": {{"status": "frozen"}}}}')"""),
        BreakKind.AUDIT_MISMATCH,
    ),
    "the event of an asset that is not there": (
        says(f"{EVENT} ('key:boss', 'asset.register', 'GOLD', '{{}}')"),
        BreakKind.AUDIT_MISMATCH,
    ),
    "an asset without its event": (
        says("INSERT INTO asset (currency_code, minor_units, name, registered_by) VALUES ('GOLD', 2, 'x', 'key:boss')"),
        BreakKind.AUDIT_MISMATCH,
    ),
    "a break closed without a word": (
        says("INSERT INTO reconciliation_run (mode) VALUES ('full')",
             "INSERT INTO reconciliation_break (kind, subject, figures, state, first_run_id, last_run_id)"
             " SELECT 'chain_hash', '0/1', '{}', 'accepted', max(run_id), max(run_id) FROM reconciliation_run"),
        BreakKind.BREAK_HISTORY,
    ),
    "other partitions": (
        says("UPDATE ledger_setting SET value = 1 WHERE name = 'partitions'"),
        "ledger_setting_guarded",
    ),
    "an older directory": (
        says("UPDATE ledger_setting SET value = 0 WHERE name = 'directory_version'"),
        "ledger_setting_guarded",
    ),
}  # fmt: skip
"""What is forged, and the guard that refuses it or the kind of break that names it."""


@pytest.mark.parametrize(("forge", "outcome"), FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_by_the_apps_role_is_refused_or_found(
    settled: World, forge: Forgery, outcome: str | BreakKind
) -> None:
    with settled.connect(owner=False) as app:
        refusal = None
        try:
            with app.transaction():
                forge(Attacker(settled, app))
        except psycopg.Error as error:
            refusal = error
    if isinstance(outcome, BreakKind):
        assert refusal is None
        found = settled.reconcile().breaks + settled.verifier.run().breaks
        assert outcome.value in kinds(found)
        return
    assert refusal is not None
    assert (refusal.diag.constraint_name or REFUSED) == outcome
    settled.assert_proven()


@pytest.mark.parametrize("when", ["IMMEDIATE", "DEFERRED"])
def test_constraints_made_immediate_or_late_let_no_head_pass(settled: World, when: str) -> None:
    with settled.connect(owner=False) as app:
        app.execute("BEGIN")
        app.execute(f"SET CONSTRAINTS ALL {when}")
        with pytest.raises(psycopg.Error, match="the head of chain"):
            app.execute("UPDATE partition SET chain_seq = 0; COMMIT")
    settled.assert_proven()


def test_an_audit_event_happens_when_it_is_written(settled: World) -> None:
    with settled.connect(owner=False) as app:
        app.execute(
            "INSERT INTO audit_event (actor, action, subject, detail, recorded_at)"
            " VALUES ('key:test', 'x', 'x', '{}', '2001-01-01')"
        )
    assert settled.rows("SELECT now() - recorded_at < interval '1 hour' FROM audit_event WHERE action = 'x'") == [
        (True,)
    ]


def test_what_the_program_itself_writes_passes_every_guard(settled: World) -> None:
    """The attacker's way of writing is the program's, so it is each forgery that is refused, and not the way."""
    with settled.connect(owner=False) as app, app.transaction():
        attacker = Attacker(settled, app)
        attacker.post(attacker.transaction(attacker.theft()))
    settled.assert_proven()
