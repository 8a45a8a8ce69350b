"""Somebody has the connection of the app's role: it approves no journal in the name of those who may not."""

from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.domain.users import Role
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerUsers
from tests.patience import until
from tests.world import World

PROPOSE = """
INSERT INTO journal_proposal (entity_id, kind, external_id, lines, reason, entered_by)
VALUES ('default', 'journal', 'j-1', '[]', 'costs', %s) RETURNING proposal_id
"""
DECIDE = "INSERT INTO journal_decision (proposal_id, decision, decided_by, journal_id) VALUES (%s, %s, %s, %s)"


@pytest.fixture
def app(world: World) -> psycopg.Connection[Any]:
    """The app's connection, in somebody else's hands, where jane, mira and the disabled kim are known."""
    users = LedgerUsers(owner_engine(world.settings.owner_database_url))
    for name, role in (("jane", Role.ACCOUNTANT), ("mira", Role.CONTROLLER), ("kim", Role.CONTROLLER)):
        [(now,)] = world.rows("SELECT now() + interval '1 day'")
        users.invite(name, role, name.encode(), now, "tests")
    users.disable("kim", "tests")
    return world.connect(owner=False)


def proposed(app: psycopg.Connection[Any], entered_by: str = "user:jane") -> int:
    row = app.execute(PROPOSE, [entered_by]).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("decision", ["approved", "returned"])
@pytest.mark.parametrize("by", ["user:jane", "user:kim", "user:nobody", "key:boss", "clock", ""])
def test_a_decision_of_somebody_who_may_not_is_refused(app: psycopg.Connection[Any], decision: str, by: str) -> None:
    journal_id = "jrn_1" if decision == "approved" else None
    with pytest.raises(errors.RestrictViolation):
        app.execute(DECIDE, (proposed(app), decision, by, journal_id))


def test_nobody_decides_their_own_and_nobody_withdraws_anothers(app: psycopg.Connection[Any]) -> None:
    for decision in ("approved", "returned"):
        journal_id = "jrn_1" if decision == "approved" else None
        with pytest.raises(errors.RestrictViolation):
            app.execute(DECIDE, (proposed(app, "user:mira"), decision, "user:mira", journal_id))
    with pytest.raises(errors.RestrictViolation):
        app.execute(DECIDE, (proposed(app), "withdrawn", "user:mira", None))
    app.execute(DECIDE, (proposed(app), "withdrawn", "user:jane", None))
    app.execute(DECIDE, (proposed(app), "returned", "user:mira", None))


def test_an_approval_names_the_journal_that_it_has_become(world: World, app: psycopg.Connection[Any]) -> None:
    world.account("wallet:ada", balance_minor=100)
    until(lambda: bool(world.rows("SELECT FROM ledger_transaction")))
    [(other,)] = world.rows("SELECT payment_id FROM ledger_transaction LIMIT 1")
    for journal_id in ("jrn_1", other):
        with pytest.raises(errors.RestrictViolation):
            app.execute(DECIDE, (proposed(app), "approved", "user:mira", journal_id))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal_proposal SET entered_by = 'user:mira'",
        "DELETE FROM journal_proposal",
        "UPDATE journal_decision SET decided_by = 'user:mira'",
        "TRUNCATE journal_decision",
        "DELETE FROM journal_template",
        "INSERT INTO journal_proposal (entity_id, kind, external_id, lines, reason, entered_by, entered_at)"
        " VALUES ('default', 'journal', 'x', '[]', 'x', 'user:jane', '2020-01-01')",
        "INSERT INTO journal_decision (proposal_id, decision, decided_by, decided_at)"
        " VALUES (1, 'returned', 'user:mira', '2020-01-01')",
    ],
)
def test_what_was_entered_and_decided_stays_as_it_is(app: psycopg.Connection[Any], statement: str) -> None:
    proposed(app)
    with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)):
        app.execute(statement)


def test_a_proposal_is_decided_once(app: psycopg.Connection[Any]) -> None:
    number = proposed(app)
    app.execute(DECIDE, (number, "returned", "user:mira", None))
    with pytest.raises(errors.UniqueViolation):
        app.execute(DECIDE, (number, "withdrawn", "user:jane", None))


def test_not_even_its_owner_changes_the_record(world: World, app: psycopg.Connection[Any]) -> None:
    proposed(app)
    for table in ("journal_proposal", "journal_decision", "journal_template"):
        with pytest.raises(errors.RestrictViolation, match="append-only"):
            world.owner.execute(f"DELETE FROM {table}")  # type: ignore[call-overload]
