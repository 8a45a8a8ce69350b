"""Somebody has the connection of the app's role: it administers no keys without the secret of an active admin key."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.domain.api_keys import KeyOutcome, NewKey, PresentedKey, parse_key
from app.domain.rate_limits import RateLimit
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key
from tests.world import World

MAKE = "SELECT make_api_key_as(%s, %s, 'abc', 'mine', '\\x00', '{admin}', NULL, NULL, NULL, NULL)"
REVOKE = "SELECT revoke_api_key_as(%s, %s, %s)"
ROTATE = "SELECT rotate_api_key_as(%s, %s, %s, 'abc', '\\x00', interval '1 hour')"


@pytest.fixture
def keys(world: World) -> LedgerApiKeys:
    """The keys, for the owner."""
    return LedgerApiKeys(owner_engine(world.settings.owner_database_url))


@pytest.fixture
def app(world: World) -> psycopg.Connection[Any]:
    """The app's connection, in somebody else's hands."""
    return world.connect(owner=False)


def made(keys: LedgerApiKeys, *scopes: Scope, **more: Any) -> PresentedKey:
    presented = parse_key(create_key(keys, "a test", list(scopes), "tests", **more))
    assert presented is not None
    return presented


def answers(app: psycopg.Connection[Any], statement: str, *parameters: Any) -> str:
    row = app.execute(statement, parameters).fetchone()
    assert row is not None
    return str(row[0])


def state(world: World) -> list[tuple[Any, ...]]:
    """All keys, and what was recorded of them."""
    return [
        *world.rows("SELECT * FROM api_key ORDER BY key_id"),
        *world.rows(
            "SELECT actor, action, subject, detail FROM audit_event WHERE action LIKE 'key.%%'".replace("%%", "%")
        ),
    ]


def powerless(world: World, keys: LedgerApiKeys) -> dict[str, tuple[str | None, str | None]]:
    """What somebody may present who has read every table, and perhaps a key without the scope."""
    admin = made(keys, Scope.ADMIN)
    revoked, expired = (
        made(keys, Scope.ADMIN),
        made(keys, Scope.ADMIN, expires_at=datetime.now(UTC) + timedelta(days=1)),
    )
    assert keys.revoke(revoked.key_id, "tests") is KeyOutcome.REVOKED
    world.owner.execute("UPDATE api_key SET expires_at = now() - interval '1 s' WHERE key_id = %s", [expired.key_id])
    everything_else = made(keys, *[one for one in Scope if one is not Scope.ADMIN])
    [(stored,)] = world.rows("SELECT secret_hash FROM api_key WHERE key_id = %s", admin.key_id)
    return {
        "a wrong secret": (admin.key_id, "x"),
        "the hash": (admin.key_id, bytes(stored).hex()),
        "no secret": (admin.key_id, ""),
        "null": (admin.key_id, None),
        "null twice": (None, None),
        "another key's secret": (admin.key_id, everything_else.secret),
        "a key that may do everything else": (everything_else.key_id, everything_else.secret),
        "a revoked key": (revoked.key_id, revoked.secret),
        "an expired key": (expired.key_id, expired.secret),
        "a key that is not there": ("f" * 12, "x"),
    }


def test_the_connection_alone_makes_ends_and_rotates_no_key(
    world: World, keys: LedgerApiKeys, app: psycopg.Connection[Any]
) -> None:
    target = made(keys, Scope.READ)
    attempts = powerless(world, keys)
    before = state(world)
    for name, presented in attempts.items():
        assert answers(app, MAKE, *presented) == "not_administrator", name
        assert answers(app, REVOKE, *presented, target.key_id) == "not_administrator", name
        assert answers(app, ROTATE, *presented, target.key_id) == "not_administrator", name
    assert state(world) == before
    world.assert_proven()


def test_tables_and_paths_of_ones_own_deceive_no_function(
    world: World, keys: LedgerApiKeys, app: psycopg.Connection[Any]
) -> None:
    made(keys, Scope.ADMIN)
    before = state(world)
    app.execute("CREATE TEMPORARY TABLE api_key (LIKE public.api_key)")
    app.execute("CREATE TEMPORARY TABLE audit_event (LIKE public.audit_event)")
    app.execute(
        "INSERT INTO pg_temp.api_key (key_id, name, secret_hash, scopes, created_at)"
        " VALUES ('mine', 'x', sha256('secret'), '{admin}', now())"
    )
    app.execute(
        "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql"
        " AS 'SELECT secret_hash FROM public.api_key LIMIT 1'"
    )
    app.execute("SET search_path = pg_temp, public")
    [(admin_id,)] = world.rows("SELECT key_id FROM api_key")
    for presented in (("mine", "secret"), (admin_id, "secret")):
        assert answers(app, MAKE.replace("make", "public.make"), *presented) == "not_administrator"
    assert state(world) == before


BARRED = {
    "the owner's way to make one": (
        "SELECT make_api_key('command line', 'abc', 'x', '\\x00', '{admin}', NULL, NULL, NULL, NULL)"
    ),
    "the owner's way to revoke one": "SELECT revoke_api_key('command line', 'abc')",
    "the owner's way to rotate one": "SELECT rotate_api_key('command line', 'abc', 'abd', '\\x00', interval '0')",
    "asking who is an administrator": "SELECT administrator_of('abc', 'x')",
    "more entities": "UPDATE api_key SET entities = NULL",
    "a later end": "UPDATE api_key SET expires_at = NULL",
    "no limit": "UPDATE api_key SET rate_per_second = NULL, rate_burst = NULL",
    "locking keys against their revocation": "SELECT FROM api_key FOR UPDATE",
    "another function": (
        "CREATE OR REPLACE FUNCTION administrator_of(text, text) RETURNS api_key LANGUAGE sql AS 'SELECT 1'"
    ),
}


@pytest.mark.parametrize("statement", BARRED.values(), ids=BARRED)
def test_what_the_owner_may_the_app_may_not(keys: LedgerApiKeys, app: psycopg.Connection[Any], statement: str) -> None:
    made(keys, Scope.READ)
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement)


def test_no_key_comes_to_reach_more_not_even_by_its_owner(world: World, keys: LedgerApiKeys) -> None:
    made(keys, Scope.READ, entities=["a"], expires_at=datetime.now(UTC) + timedelta(days=1), limit=RateLimit(5, 5))
    for change in (
        "scopes = '{admin}'", "entities = NULL", "entities = '{a,b}'", "expires_at = NULL", "secret_hash = '\\x00'",
        "expires_at = expires_at + interval '1 s'", "rate_per_second = NULL, rate_burst = NULL", "rate_burst = 6",
    ):  # fmt: skip
        with pytest.raises(errors.RestrictViolation, match="nothing else of it changes"):
            world.owner.execute(f"UPDATE api_key SET {change}")  # type: ignore[call-overload]
    world.owner.execute("UPDATE api_key SET expires_at = expires_at - interval '1 s'")


# What an admin key may


def test_an_admin_key_makes_revokes_and_rotates_through_the_apps_connection(world: World, keys: LedgerApiKeys) -> None:
    admin = made(keys, Scope.ADMIN)
    through_app = LedgerApiKeys(world.engine)
    limit = RateLimit(10, 20)
    new = NewKey("a shop", ["read"], ["a", "b"], datetime.now(UTC) + timedelta(days=10), limit)
    assert through_app.add("aaaa", b"x" * 32, new, admin) is KeyOutcome.MADE
    assert through_app.add("bbbb", b"x" * 32, NewKey("all", ["admin"]), admin) is KeyOutcome.MADE
    assert through_app.rotate("aaaa", "cccc", b"y" * 32, timedelta(hours=1), admin) is KeyOutcome.ROTATED
    assert through_app.rotate("aaaa", "dddd", b"y" * 32, timedelta(hours=1), admin) is KeyOutcome.ROTATED_BEFORE
    assert through_app.revoke("bbbb", admin) is KeyOutcome.REVOKED
    assert through_app.revoke("bbbb", admin) is KeyOutcome.ENDED
    assert through_app.rotate("bbbb", "dddd", b"y" * 32, timedelta(hours=1), admin) is KeyOutcome.ENDED
    assert through_app.revoke("eeee", admin) is KeyOutcome.UNKNOWN
    old, successor = through_app.get("aaaa"), through_app.get("cccc")
    assert old is not None
    assert successor is not None
    assert (successor.scopes, successor.entities, successor.limit) == ({"read"}, {"a", "b"}, limit)
    assert successor.rotated_from == "aaaa"
    assert 3_000 < (old.expires_in_s or 0) <= 3_600
    assert abs((successor.expires_in_s or 0) - 10 * 86_400) < 3_600
    told = world.rows("SELECT actor, action, subject FROM audit_event WHERE actor LIKE 'key:%' ORDER BY audit_event_id")
    actor = f"key:{admin.key_id}"
    assert told == [
        (actor, "key.create", "aaaa"),
        (actor, "key.create", "bbbb"),
        (actor, "key.create", "cccc"),
        (actor, "key.rotate", "aaaa"),
        (actor, "key.revoke", "bbbb"),
    ]
    world.assert_proven()


def test_a_rotation_does_not_lengthen_a_life_that_ends_sooner(keys: LedgerApiKeys) -> None:
    soon = made(keys, Scope.READ, expires_at=datetime.now(UTC) + timedelta(minutes=5))
    assert keys.rotate(soon.key_id, "cccc", b"y", timedelta(hours=1), "tests") is KeyOutcome.ROTATED
    old = keys.get(soon.key_id)
    assert old is not None
    assert old.expires_in_s is not None
    assert old.expires_in_s <= 300


def test_an_admin_key_of_some_entities_administers_only_keys_within_them(world: World, keys: LedgerApiKeys) -> None:
    admin = made(keys, Scope.ADMIN, entities=["a", "b"])
    through_app = LedgerApiKeys(world.engine)
    for entities, outcome in (
        (["a"], KeyOutcome.MADE),
        (["b", "a"], KeyOutcome.MADE),
        (["a", "c"], KeyOutcome.BEYOND_ENTITIES),
        (["c"], KeyOutcome.BEYOND_ENTITIES),
        (None, KeyOutcome.BEYOND_ENTITIES),
    ):
        key_id = f"k{'' if entities is None else ''.join(entities)}"
        assert through_app.add(key_id, b"x", NewKey("x", ["read"], entities), admin) is outcome, entities
    others = [
        made(keys, Scope.READ, entities=["c"]),
        made(keys, Scope.READ),
        made(keys, Scope.READ, entities=["a", "c"]),
    ]
    for other in others:
        assert through_app.revoke(other.key_id, admin) is KeyOutcome.UNKNOWN
        assert through_app.rotate(other.key_id, "x", b"x", timedelta(0), admin) is KeyOutcome.UNKNOWN
    listed = {one.key_id for one in through_app.page(limit=10, after=None, entities=["a", "b"])}
    assert listed == {"ka", "kba", admin.key_id}
