"""Accounts over HTTP: create, read, balance, entries, and paging through all of it."""

from urllib.parse import quote

import pytest

from app.api.application import all_routes
from app.domain.accounts import RESERVED_ENDINGS
from app.domain.money import MAX_MINOR
from tests.api.world import BANK, World, assert_problem

STRANGE_IDS = [
    "customer:42",
    "a/b",
    "...",
    "a/.b/c..",
    "%2e%2e",
    "it's",
    "x'; DROP TABLE account; --",
    "{1}:brace",
    "star*[a-z]?",
    "a b",
    "кошелёк",
    "財布",
    "🪙",
    "\u00e9",
    "a?b=c&d#e",
    "x" * 128,
]


def test_an_account_is_created_once_and_read_back(world: World) -> None:
    body = {
        "account_id": "alice", "type": "liability", "currency_code": "EUR", "entity_id": "shop",
        "name": "Alice’s wallet", "overdraft_limit_minor": 250, "metadata": {"tier": "gold", "n": [1, None]},
    }  # fmt: skip
    created = world.post("/v1/accounts", body)
    assert created.status_code == 201
    assert created.headers["Location"] == "/v1/accounts/alice"
    answer = created.get_json()
    assert {name: answer[name] for name in body} == body
    assert answer["status"] == "open"
    assert answer["created_at"].endswith("Z")
    assert answer["created_by"].startswith("key:")
    again = world.post("/v1/accounts", body)
    assert (again.status_code, again.get_json()) == (200, answer)
    assert world.get("/v1/accounts/alice").get_json() == answer


@pytest.mark.parametrize("ending", RESERVED_ENDINGS)
def test_an_id_that_ends_like_a_route_below_an_account_is_refused(shared_world: World, ending: str) -> None:
    body = {"account_id": f"till{ending}", "type": "asset", "currency_code": "EUR"}
    problem = assert_problem(shared_world.post("/v1/accounts", body), 422, "invalid_id")
    assert problem["field"] == "account_id"
    for near in (ending.removeprefix("/"), f"till{ending}-2", f"till{ending}/x", f"till{ending.upper()}"):
        shared_world.account(near)
        assert shared_world.get(f"/v1/accounts/{quote(near, safe='')}").get_json()["account_id"] == near


def test_every_path_after_an_accounts_id_is_reserved() -> None:
    prefix = "/v1/accounts/{account_id}"
    paths = {route.path.removeprefix(prefix) for route in all_routes() if route.path.startswith(prefix)}
    assert paths == {"", *RESERVED_ENDINGS}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "asset"),
        ("currency_code", "USD"),
        ("entity_id", "other"),
        ("name", "Bob"),
        ("overdraft_limit_minor", 1),
        ("overdraft_limit_minor", None),
        ("metadata", {"other": 1}),
    ],
)
def test_the_same_account_id_with_other_content_is_refused_by_the_field(
    shared_world: World, field: str, value: object
) -> None:
    body = {"account_id": "alice", "type": "liability", "currency_code": "EUR", "overdraft_limit_minor": 0}
    shared_world.post("/v1/accounts", body)
    problem = assert_problem(shared_world.post("/v1/accounts", {**body, field: value}), 409, "account_exists")
    assert (problem["account_id"], problem["field"]) == ("alice", field)


@pytest.mark.parametrize(
    ("type", "limit"), [("liability", 0), ("asset", None), ("equity", None), ("revenue", None), ("expense", None)]
)
def test_only_liabilities_have_a_floor_by_default(shared_world: World, type: str, limit: int | None) -> None:
    body = {"account_id": f"default-{type}", "type": type, "currency_code": "EUR"}
    assert shared_world.post("/v1/accounts", body).get_json()["overdraft_limit_minor"] == limit


@pytest.mark.parametrize("account_id", STRANGE_IDS)
def test_an_account_with_a_strange_id_can_be_used_like_any_other(shared_world: World, account_id: str) -> None:
    world = shared_world
    world.account(BANK, "asset")
    world.account(account_id)
    outbox_position = f"/v1/accounts/{quote(account_id, safe='')}"
    assert world.get(outbox_position).get_json()["account_id"] == account_id
    before = world.get(f"{outbox_position}/balance").get_json()["balance_minor"]
    world.deposit(account_id, 5)
    world.drained()
    assert world.get(f"{outbox_position}/balance").get_json()["balance_minor"] == before + 5
    assert world.get(f"{outbox_position}/entries").get_json()["data"][-1]["amount_minor"] == 5
    created = world.post("/v1/accounts", {"account_id": account_id, "type": "liability", "currency_code": "EUR"})
    assert world.get(created.headers["Location"]).get_json()["account_id"] == account_id


@pytest.mark.parametrize("account_id", ["", " a", "a ", "a\tb", "a\nb", "x" * 129, "\u200b", "\u00a0a", "\u202ea"])
def test_an_id_that_a_person_could_not_read_is_refused(shared_world: World, account_id: str) -> None:
    body = {"account_id": account_id, "type": "liability", "currency_code": "EUR"}
    assert assert_problem(shared_world.post("/v1/accounts", body), 422, "invalid_id")["field"] == "account_id"


@pytest.mark.parametrize("limit", [-1, MAX_MINOR + 1, 2**62])
def test_an_overdraft_limit_out_of_range_is_refused(shared_world: World, limit: int) -> None:
    body = {"account_id": "x", "type": "liability", "currency_code": "EUR", "overdraft_limit_minor": limit}
    problem = assert_problem(shared_world.post("/v1/accounts", body), 422, "amount_out_of_range")
    assert problem["max_minor"] == MAX_MINOR


def test_the_balance_of_a_new_account_is_zero_with_an_etag(world: World) -> None:
    world.account("alice")
    response = world.get("/v1/accounts/alice/balance")
    body = response.get_json()
    assert body.pop("updated_at").endswith("Z")
    assert body == {
        "account_id": "alice", "entity_id": "default", "balance_minor": 0, "held_minor": 0, "available_minor": 0,
        "currency_code": "EUR", "version": 0,
    }  # fmt: skip
    assert response.headers["ETag"] == '"0"'


def test_a_current_etag_answers_not_modified_until_the_funds_change(world: World) -> None:
    world.funded("alice", 1_000)
    etag = world.get("/v1/accounts/alice/balance").headers["ETag"]
    unchanged = world.get("/v1/accounts/alice/balance", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
    world.pay("alice", BANK, 1)
    changed = world.get("/v1/accounts/alice/balance", headers={"If-None-Match": etag})
    assert (changed.status_code, changed.get_json()["held_minor"]) == (200, 1)


@pytest.mark.parametrize("header", ['W/"{v}"', '"x", "{v}"', "*"])
def test_every_form_of_if_none_match_is_understood(world: World, header: str) -> None:
    world.account("alice")
    sent = header.format(v=0)
    assert world.get("/v1/accounts/alice/balance", headers={"If-None-Match": sent}).status_code == 304


@pytest.mark.parametrize("path", ["/v1/accounts/nobody", "/v1/accounts/nobody/balance", "/v1/accounts/nobody/entries"])
def test_an_unknown_account_is_named(shared_world: World, path: str) -> None:
    assert assert_problem(shared_world.get(path), 404, "account_not_found")["account_id"] == "nobody"


def test_entries_run_in_order_with_the_balance_after_each(world: World) -> None:
    world.funded("alice", 1_000)
    for amount in (100, 200, 300):
        world.pay("alice", BANK, amount, external_id=f"p{amount}", description=f"number {amount}")
    world.drained()
    entries = world.get("/v1/accounts/alice/entries").get_json()["data"]
    assert [one["entry_number"] for one in entries] == [1, 2, 3, 4]
    assert [one["direction"] for one in entries] == ["credit", "debit", "debit", "debit"]
    assert [one["balance_minor"] for one in entries] == [1_000, 900, 700, 400]
    assert entries[1]["external_id"] == "p100"
    assert entries[1]["description"] == "number 100"
    assert entries[1]["kind"] == "payment"
    times = [one["posted_at"] for one in entries]
    assert times == sorted(times)
    assert all(len(time) == len("2026-01-31T09:30:00.123Z") for time in times)


def test_paging_through_entries_gives_each_once_and_ends(world: World) -> None:
    world.funded("alice", 1_000)
    for _ in range(9):
        world.pay("alice", BANK, 1)
    world.drained()
    whole = world.get("/v1/accounts/alice/entries").get_json()
    assert whole["next"] is None
    assert walk(world, "/v1/accounts/alice/entries", 3) == whole["data"]
    assert walk(world, "/v1/accounts/alice/entries", 5) == whole["data"]


def test_paging_through_accounts_gives_each_once_in_order_of_id(world: World) -> None:
    ids = sorted([*STRANGE_IDS, "zz"], key=lambda one: one.encode())
    for account_id in reversed(ids):
        world.account(account_id)
    for limit in (1, 4, 100):
        assert [one["account_id"] for one in walk(world, "/v1/accounts", limit)] == ids


def test_accounts_are_filtered_by_entity_and_currency(world: World) -> None:
    world.account("a", entity_id="one")
    world.account("b", entity_id="two")
    world.account("c", entity_id="two", currency_code="USD")
    found = world.get("/v1/accounts?entity_id=two&currency_code=USD").get_json()["data"]
    assert [one["account_id"] for one in found] == ["c"]
    assert world.get("/v1/accounts?entity_id=' OR 1=1 --").get_json()["data"] == []


def walk(world: World, path: str, limit: int) -> list[dict[str, object]]:
    """All pages, one after the other."""
    rows: list[dict[str, object]] = []
    after = ""
    for _ in range(100):
        page = world.get(f"{path}?limit={limit}{after}").get_json()
        assert len(page["data"]) <= limit
        rows += page["data"]
        if page["next"] is None:
            return rows
        after = f"&after={quote(page['next'], safe='')}"
    raise AssertionError("the pages do not end")
