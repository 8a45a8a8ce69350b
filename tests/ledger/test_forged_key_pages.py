"""Somebody has the connection of the app's role: it administers no keys in a person's name without their password."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.domain.api_keys import KeyOutcome, NewKey, PresentedPerson
from app.domain.users import Role, User
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerSessions, LedgerUsers
from app.services.access.sign_in import NotSignedIn, SignIn
from app.services.access.users import invite
from tests.world import World

PASSWORD = "correct horse battery"
MAKE = "SELECT make_api_key_by(%s, %s, 'abc', 'mine', '\\x00', '{admin}', NULL, NULL, NULL, NULL)"
REVOKE = "SELECT revoke_api_key_by(%s, %s, 'abc')"
ROTATE = "SELECT rotate_api_key_by(%s, %s, 'abc', 'abd', '\\x00', interval '1 hour')"


def now() -> datetime:
    return datetime.now(UTC)


def signing_in(world: World) -> SignIn:
    return SignIn(LedgerUsers(world.engine), LedgerSessions(world.engine), now)


def person(world: World, name: str, role: Role = Role.ADMIN) -> User:
    """Somebody who has set a password."""
    owner = LedgerUsers(owner_engine(world.settings.owner_database_url))
    invited = signing_in(world).invited(invite(owner, name, role, "tests", now()))
    assert invited is not None
    assert signing_in(world).set_password(invited, PASSWORD) is None
    found = owner.get(name)
    assert found is not None
    return found


def proof_of(world: World, user: User) -> PresentedPerson:
    proven = signing_in(world).prove(user, PASSWORD)
    assert isinstance(proven, PresentedPerson)
    return proven


@pytest.fixture
def app(world: World) -> psycopg.Connection[Any]:
    """The app's connection, in somebody else's hands."""
    return world.connect(owner=False)


def test_an_admin_makes_rotates_and_revokes_by_the_proof_of_the_password(world: World) -> None:
    by = proof_of(world, person(world, "root"))
    keys = LedgerApiKeys(world.engine)
    assert keys.add("aaaa", b"x" * 32, NewKey("a shop", ["read"]), by) is KeyOutcome.MADE
    assert keys.rotate("aaaa", "bbbb", b"y" * 32, now() - now(), by) is KeyOutcome.ROTATED
    assert keys.revoke("bbbb", by) is KeyOutcome.REVOKED
    assert keys.revoke("cccc", by) is KeyOutcome.UNKNOWN
    told = world.rows("SELECT actor, action, subject FROM audit_event WHERE actor = 'user:root' AND action LIKE 'key%'")
    assert told == [
        ("user:root", "key.create", "aaaa"),
        ("user:root", "key.create", "bbbb"),
        ("user:root", "key.rotate", "aaaa"),
        ("user:root", "key.revoke", "bbbb"),
    ]


def test_the_connection_alone_and_all_that_it_reads_makes_no_key(world: World, app: psycopg.Connection[Any]) -> None:
    root, mira = person(world, "root"), person(world, "mira", Role.CONTROLLER)
    gone = person(world, "gone")
    LedgerUsers(owner_engine(world.settings.owner_database_url)).disable("gone", "tests")
    [(stored, password_hash)] = world.rows("SELECT key_proof, password_hash FROM app_user WHERE user_id = 'root'")
    before = world.rows("SELECT * FROM api_key")
    attempts = {
        "what is stored": ("root", bytes(stored)),
        "its hash": ("root", sha256(bytes(stored)).digest()),
        "the hash of the password": ("root", password_hash.encode()),
        "nothing": ("root", b""),
        "null": ("root", None),
        "null twice": (None, None),
        "a controller's proof": ("mira", proof_of(world, mira).proof),
        "a controller's proof for an admin": ("root", proof_of(world, mira).proof),
        "a disabled admin's proof": ("gone", proof_of(world, gone).proof),
        "nobody": ("nobody", proof_of(world, root).proof),
    }
    for name, presented in attempts.items():
        for statement in (MAKE, REVOKE, ROTATE):
            row = app.execute(statement, presented).fetchone()
            assert row == ("not_administrator",), name
    assert world.rows("SELECT * FROM api_key") == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE app_user SET key_proof = sha256('mine') WHERE user_id = 'root'",
        "UPDATE app_user SET key_proof = NULL WHERE user_id = 'root'",
        "UPDATE app_user SET role = 'admin'",
        "SELECT is_key_administrator('root', 'x')",
        "CREATE OR REPLACE FUNCTION is_key_administrator(text, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ],
)
def test_the_app_sets_no_proof_and_no_role(world: World, app: psycopg.Connection[Any], statement: str) -> None:
    person(world, "root")
    with pytest.raises((errors.InsufficientPrivilege, errors.RestrictViolation)):
        app.execute(statement)


def test_a_wrong_password_proves_nothing_and_counts(world: World) -> None:
    root = person(world, "root")
    outcomes = [signing_in(world).prove(root, "wrong horse battery") for _ in range(3)]
    assert all(isinstance(one, NotSignedIn) for one in outcomes)
    assert isinstance(signing_in(world).prove(root, PASSWORD), NotSignedIn)


def test_another_password_has_another_proof(world: World) -> None:
    first = proof_of(world, person(world, "root"))
    again = person(world, "root")
    assert proof_of(world, again).proof != first.proof
    assert LedgerApiKeys(world.engine).add("aaaa", b"x", NewKey("x", ["read"]), first) is KeyOutcome.NOT_ADMINISTRATOR
