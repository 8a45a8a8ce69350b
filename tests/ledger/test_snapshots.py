"""A table that is rewritten while a transaction runs: the transaction sees all of its rows, and the rewriting waits."""

import psycopg
import pytest

from app.ledger.schema import hold
from app.ledger.snapshots import one_snapshot
from tests.services.tampering import authorize
from tests.world import World

REWRITTEN = "ALTER TABLE hold ALTER COLUMN description TYPE varchar(400)"


@pytest.fixture
def authorized(world: World) -> tuple[World, str]:
    """A world, and the one authorization in its ledger."""
    world.bank()
    world.account("alice", balance_minor=100)
    world.account("bob")
    payment_id = authorize(world, 5)
    world.drain()
    return world, payment_id


def rewrite(world: World) -> None:
    """Rewrite the table of authorizations, or give up soon."""
    with world.connect() as connection:
        connection.execute("SET lock_timeout = '100ms'")
        connection.execute(REWRITTEN)


def test_a_posting_finds_an_authorization_whatever_is_done_to_its_table(authorized: tuple[World, str]) -> None:
    world, payment_id = authorized
    with world.new_posting_session().posting([0]) as posting:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rewrite(world)
        assert posting.lock_authorizations([payment_id]).keys() == {payment_id}
    rewrite(world)
    with world.new_posting_session().posting([0]) as posting:
        assert posting.lock_authorizations([payment_id]).keys() == {payment_id}


def test_a_report_finds_every_row_whatever_is_done_to_its_table(authorized: tuple[World, str]) -> None:
    world, payment_id = authorized
    with one_snapshot(world.engine) as connection:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            rewrite(world)
        assert [row.payment_id for row in connection.execute(hold.select())] == [payment_id]
