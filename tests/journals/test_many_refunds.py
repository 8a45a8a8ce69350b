"""Many refunds of one payment: each costs the same, and the list comes in pages."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic import command
from psycopg import errors
from sqlalchemy import Engine, event

from app.ledger.migrate import upgrade
from tests.api.test_accounts import walk
from tests.journals.world import JournalWorld


@contextmanager
def rows_and_statements() -> Iterator[list[int]]:
    """The rows that each statement reads, for as long as this is open."""
    read: list[int] = []

    def note(*arguments: object) -> None:
        cursor = arguments[1]
        read.append(getattr(cursor, "rowcount", 0))

    event.listen(Engine, "after_cursor_execute", note)
    try:
        yield read
    finally:
        event.remove(Engine, "after_cursor_execute", note)


def test_a_refund_reads_as_little_after_many_others_as_at_first(world: JournalWorld) -> None:
    world.funded("alice", 1_000)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 1_000)
    world.refund(payment_id, 1)
    with rows_and_statements() as at_first:
        assert world.refund(payment_id, 1).status_code == 201
    for _ in range(40):
        assert world.refund(payment_id, 1).status_code == 201
    with rows_and_statements() as after_many:
        assert world.refund(payment_id, 1).status_code == 201
    assert after_many == at_first
    assert world.refund(payment_id).get_json()["amount_minor"] == 957
    world.assert_proven()


def test_the_refunds_of_a_payment_are_listed_in_pages(world: JournalWorld) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    made = [world.refund(payment_id, n).get_json() for n in range(1, 6)]
    assert walk(world, f"/v1/payments/{payment_id}/refunds", 2) == made
    assert world.get(f"/v1/payments/{payment_id}/refunds?limt=5").status_code == 400


@pytest.mark.parametrize(
    ("amount_minor", "returned_minor"),
    [(1, 1), (70, 101), (-31, -1), (10, 41)],
    ids=["the first again", "more than was paid", "less than nothing", "a sum that does not follow"],
)
def test_the_ledger_keeps_no_sum_that_does_not_follow_from_the_one_before(
    world: JournalWorld, amount_minor: int, returned_minor: int
) -> None:
    world.funded("alice", 100)
    world.account("shop")
    payment_id = world.paid("alice", "shop", 100)
    world.refund(payment_id, 30)
    with psycopg.connect(world.settings.database_url) as app, pytest.raises(errors.CheckViolation, match="given back"):
        app.execute(
            "INSERT INTO payment_return VALUES (%s, 'shop', 16, 1000, %s, %s)",
            (payment_id, amount_minor, returned_minor),
        )


def test_an_upgrade_adds_up_the_refunds_that_were_made_before(
    world: JournalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.funded("alice", 1_000)
    wallets = world.wallets(2)
    parts = [{"account_id": wallets[0], "share": "0.6"}, {"account_id": wallets[1], "remainder": True}]
    payment_id = world.paid("alice", None, 1_000, destinations=parts)
    for amount_minor in (333, 1, 66):
        world.refund(payment_id, amount_minor)
    every_row = "SELECT * FROM payment_return ORDER BY account_id, chain_seq"
    before = world.sql(every_row)
    world.sql("DROP TABLE payment_return, used_currency")
    world.sql("DROP FUNCTION refuse_wrong_return")
    world.sql("UPDATE alembic_version SET version_num = '0006'")
    to = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: to(config, "0008"))  # what follows is there already
    upgrade(world.settings.owner_database_url)
    assert world.sql(every_row) == before
    assert world.refund(payment_id).get_json()["amount_minor"] == 600
