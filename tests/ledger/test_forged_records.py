"""The audit's records against the ledger: what the app's role forges, and what a superuser changes, shows."""

from collections.abc import Callable

import psycopg
import pytest

from app.domain.breaks import Break, BreakKind
from tests.ledger.attacker import Attacker
from tests.services.tampering import authorize, void
from tests.world import World

RECORD = "INSERT INTO audit_call (called_at, action, payment_id, entity_id, key_id) VALUES"


@pytest.fixture
def settled(world: World) -> World:
    """Payments and an authorization that was voided, all of them recorded."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob", balance_minor=50)
    for amount in (10, 20, 30):
        world.accepted("alice", "bob", amount)
    authorized = authorize(world, 5)
    world.drain()
    void(world, authorized)
    world.drain()
    world.assert_proven()
    return world


def found(world: World) -> list[Break]:
    return [one for one in world.reconcile().breaks if one.kind is BreakKind.AUDIT_MISMATCH]


# What the app's role does


def post_without_a_record(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.write_balances(one.entries)
    attacker.move_head(one)
    attacker.write_transactions(one)
    attacker.write_entries(one)


def post_in_the_name_of_another(attacker: Attacker) -> None:
    one = attacker.transaction(attacker.theft())
    attacker.write_balances(one.entries)
    attacker.move_head(one)
    attacker.write_transactions(one)
    attacker.write_entries(one)
    attacker.record(one, key_id="another")


def says(statement: str) -> Callable[[Attacker], None]:
    return lambda attacker: attacker.run(statement)


FOUND: dict[str, tuple[Callable[[Attacker], None], int | None]] = {
    # what is forged, and how many records the break counts
    "a posting without its record": (post_without_a_record, 0),
    "a posting recorded in the name of another": (post_in_the_name_of_another, 1),
    "the record of a payment that is not there": (says(f"{RECORD} (now(), 'payment', 'pay_0_1_1', 'default', 'x')"), 1),
    "the record of a void that was none": (says(f"{RECORD} (now(), 'void', 'pay_0_1_1', 'default', 'x')"), 1),
    "a second record of a payment": (
        says(
            "INSERT INTO audit_call (called_at, action, payment_id, entity_id, actor, key_id)"
            " SELECT called_at, action, payment_id, entity_id, actor, key_id FROM audit_call"
            " WHERE action = 'payment' LIMIT 1"
        ),
        2,
    ),
}


@pytest.mark.parametrize(("forge", "records"), FOUND.values(), ids=FOUND)
def test_a_record_that_the_apps_role_forges_or_leaves_out_is_found(
    settled: World, forge: Callable[[Attacker], None], records: int
) -> None:
    with settled.connect(owner=False) as app, app.transaction():
        forge(Attacker(settled, app))
    [one] = found(settled)
    assert one.figures["records"] == records


REFUSALS = {
    "change who it was": "UPDATE audit_call SET actor = 'somebody'",
    "take a record away": "DELETE FROM audit_call",
    "take all away": "TRUNCATE audit_call",
    "say when it was written": f"{RECORD.replace('called_at', 'recorded_at, called_at')} "
    "('2020-01-01', now(), 'payment', 'x', 'x', 'x')",
    "say that a month was dropped": "INSERT INTO audit_call (called_at, action) VALUES (now(), 'audit.month.drop')",
    "keep records for a day": "INSERT INTO audit_retention (days) VALUES (1)",
    "switch the guards off": "SET session_replication_role = replica",
    "drop the guard": "DROP TRIGGER audit_call_append_only ON audit_call",
}


@pytest.mark.parametrize("statement", REFUSALS.values(), ids=REFUSALS)
def test_the_apps_role_cannot(settled: World, statement: str) -> None:
    with settled.connect(owner=False) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(statement)  # type: ignore[call-overload]
    settled.assert_proven()


# What a superuser does, with the guards switched off

LATEST = "WHERE number = (SELECT max(number) FROM audit_call WHERE action = '{}')"
CHANGED = {
    "a record taken away": f"DELETE FROM audit_call {LATEST}",
    "another key": f"UPDATE audit_call SET key_id = 'another' {LATEST}",
    "another payment": f"UPDATE audit_call SET payment_id = 'pay_0_1_1' {LATEST}",
}


@pytest.mark.parametrize("action", ["payment", "authorization", "void"])
@pytest.mark.parametrize("statement", CHANGED.values(), ids=CHANGED)
def test_a_record_that_a_superuser_changes_is_found(settled: World, statement: str, action: str) -> None:
    settled.tamper(statement.format(action))
    breaks = found(settled)
    assert len(breaks) == (2 if "pay_0_1_1" in statement else 1)
    assert all(one.subject.startswith(action) for one in breaks)


def test_who_paid_cannot_be_changed_in_ledger_and_audit_alike(settled: World) -> None:
    """The record and the transaction agree again, and the hash chain convicts both."""
    one = "WHERE payment_id = (SELECT max(payment_id) FROM audit_call WHERE action = 'payment')"
    settled.tamper(
        f"UPDATE ledger_transaction SET actor = 'key:another' {one}",
        f"UPDATE audit_call SET key_id = 'another' {one}",
    )
    assert found(settled) == []
    assert BreakKind.CHAIN_HASH in {one.kind for one in settled.verifier.run().breaks}
