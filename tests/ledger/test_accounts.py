"""Accounts in the ledger."""

from threading import Barrier, Thread
from typing import Any

import pytest

from app.domain.accounts import AccountType
from app.domain.errors import LedgerConstraintViolated, Misconfigured
from app.domain.money import Asset
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.accounts import LedgerAccounts
from app.services.accounts.accounts import AccountRequest
from tests.world import World

EURO = Asset("EUR", 2, "Euro")

WANTED: dict[str, Any] = {
    "account_id": "alice",
    "entity_id": "default",
    "type": AccountType.LIABILITY,
    "currency_code": "EUR",
    "name": "Alice",
    "overdraft_limit_minor": 500,
    "metadata": {"a": [1, None]},
}


EURO = Asset("EUR", 2, "Euro")


def test_an_account_is_created_with_its_balance_row_and_its_audit_event(world: World) -> None:
    account, created = world.ledger_accounts.create(WANTED, "key:x", EURO)
    assert created
    assert (account.account_id, account.type, account.metadata) == ("alice", AccountType.LIABILITY, {"a": [1, None]})
    assert world.rows("SELECT normal_sign, floor_minor, balance_minor, version, entry_count FROM account_balance") == [
        (-1, -500, 0, 0, 0)
    ]
    assert world.rows("SELECT actor, action, subject FROM audit_event") == [("key:x", "account.create", "alice")]


def test_creating_an_account_again_returns_the_existing_one_and_writes_nothing(world: World) -> None:
    first, _ = world.ledger_accounts.create(WANTED, "key:x", EURO)
    again, created = world.ledger_accounts.create(WANTED | {"name": "Other"}, "key:y", EURO)
    assert (again, created) == (first, False)
    assert world.rows("SELECT count(*) FROM audit_event") == [(1,)]


def test_one_of_many_concurrent_creations_creates_the_account(world: World) -> None:
    barrier, created = Barrier(8), []

    def create() -> None:
        ledger = LedgerAccounts(world.engine, 4)
        barrier.wait()
        created.append(ledger.create(WANTED, "key:x", EURO)[1])

    threads = [Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created) == [False] * 7 + [True]
    assert world.rows("SELECT count(*) FROM account_balance") == [(1,)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entity_id", "other"),
        ("type", AccountType.ASSET),
        ("currency_code", "USD"),
        ("name", "Bob"),
        ("overdraft_limit_minor", None),
        ("metadata", {}),
    ],
)
def test_other_content_under_the_same_id_names_the_field(world: World, field: str, value: Any) -> None:
    world.accounts.create(AccountRequest(**WANTED), "key:x")
    refusal = world.accounts.create(AccountRequest(**WANTED | {field: value}), "key:x")
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.figures["field"]) == (RefusalCode.ACCOUNT_EXISTS, field)


def test_the_same_content_again_is_no_error(world: World) -> None:
    world.accounts.create(AccountRequest(**WANTED), "key:x")
    again = world.accounts.create(AccountRequest(**WANTED), "key:y")
    assert not isinstance(again, Refusal)
    assert again[1] is False


def test_pages_of_accounts_follow_the_bytes_of_their_ids(world: World) -> None:
    names = ["B", "a", "ä", "a-b", "a_b", "aa"]
    for name in names:
        world.account(name)
    pages, after = [], None
    while page := world.ledger_accounts.page(limit=2, after=after, entity_id=None, currency_code=None):
        pages += [account.account_id for account in page]
        after = pages[-1]
    assert pages == sorted(names, key=str.encode)


def test_a_ledger_made_with_other_partitions_refuses_the_program(world: World) -> None:
    with pytest.raises(Misconfigured, match="HOLDFAST_PARTITIONS=4"):
        LedgerAccounts(world.engine, 16).directory_version()
    assert LedgerAccounts(world.engine, 4).directory_version() == 1


def test_facts_are_read_again_after_the_server_has_closed_the_kept_connection(world: World) -> None:
    world.account("alice")
    ended = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query LIKE %s AND state = 'idle'"
    for _ in range(2):
        assert set(world.ledger_accounts.facts(["alice", "nobody"])) == {"alice"}
        assert world.rows(ended, "%FROM account WHERE account_id = ANY%") == [(True,)]
    assert set(world.ledger_accounts.facts(["alice"])) == {"alice"}


def test_after_a_look_up_that_failed_the_next_one_succeeds(world: World) -> None:
    world.account("alice")
    with pytest.raises(LedgerConstraintViolated):
        world.ledger_accounts.facts(["a\x00b"])
    assert set(world.ledger_accounts.facts(["alice"])) == {"alice"}
