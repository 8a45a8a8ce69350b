"""Assets: the currencies of ISO 4217 with their minor units, and points of one's own."""

import pytest
from alembic import command

from app.domain.money import Asset
from app.domain.refusals import Refusal, RefusalCode
from app.ledger.assets import LedgerAssets
from app.ledger.migrate import upgrade
from app.services.access.api_keys import Scope
from app.services.accounts.assets import Assets
from app.wiring.services import build_engine, iso_currencies
from tests.api.world import BANK, World, assert_problem

POINTS = {"currency_code": "BONUS_POINTS", "minor_units": 0, "name": "Bonus points"}


@pytest.mark.parametrize(("code", "minor_units"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_a_currency_of_iso_4217_is_known_with_its_minor_units(shared_world: World, code: str, minor_units: int) -> None:
    answer = shared_world.get(f"/v1/assets/{code}").get_json()
    assert (answer["currency_code"], answer["minor_units"], answer["iso_4217"]) == (code, minor_units, True)
    assert answer["registered_by"] is None
    account = {"account_id": f"in-{code}", "type": "liability", "currency_code": code}
    assert shared_world.post("/v1/accounts", account).status_code == 201


def test_every_currency_in_the_table_has_a_code_of_three_letters_and_countable_minor_units() -> None:
    table = iso_currencies()
    assert len(table) > 150
    for code, currency in table.items():
        assert len(code) == 3
        assert code.isupper()
        assert currency is None or (currency.currency_code == code and 0 <= currency.minor_units <= 4)


@pytest.mark.parametrize("code", ["ZZZ", "DOGE", "XAU", "XXX", "BONUS_POINTS2"])
def test_an_account_in_an_unknown_currency_is_refused(shared_world: World, code: str) -> None:
    body = {"account_id": "unknown", "type": "liability", "currency_code": code}
    problem = assert_problem(shared_world.post("/v1/accounts", body), 422, "unknown_currency")
    assert problem["currency_code"] == code
    assert_problem(shared_world.get("/v1/accounts/unknown"), 404, "account_not_found")
    assert_problem(shared_world.get(f"/v1/assets/{code}"), 404, "not_found")


def test_an_asset_is_registered_once_and_accounts_may_be_kept_in_it(world: World) -> None:
    body = {"account_id": "alice", "type": "liability", "currency_code": "BONUS_POINTS"}
    assert_problem(world.post("/v1/accounts", body), 422, "unknown_currency")
    created = world.post("/v1/assets", POINTS)
    assert created.status_code == 201
    answer = created.get_json()
    assert {name: answer[name] for name in POINTS} == POINTS
    assert answer["iso_4217"] is False
    assert answer["registered_by"].startswith("key:")
    assert world.get(created.headers["Location"]).get_json() == answer
    again = world.post("/v1/assets", POINTS)
    assert (again.status_code, again.get_json()) == (200, answer)
    assert world.sql("SELECT count(*) FROM audit_event WHERE action = 'asset.register'") == [(1,)]
    assert world.post("/v1/accounts", body).status_code == 201
    world.account("shop", "expense", "BONUS_POINTS")
    assert world.pay("shop", "alice", 7, currency_code="BONUS_POINTS").status_code == 201
    world.drained()
    assert world.balance("alice")["balance_minor"] == 7


def test_points_and_money_never_mix_in_a_payment(world: World) -> None:
    world.post("/v1/assets", POINTS)
    world.account("alice", currency_code="BONUS_POINTS")
    world.account(BANK, "asset")
    assert_problem(world.pay(BANK, "alice", 1), 422, "currency_mismatch")


@pytest.mark.parametrize(("field", "value"), [("minor_units", 2), ("name", "Other points")])
def test_a_registered_asset_never_changes(shared_world: World, field: str, value: object) -> None:
    shared_world.post("/v1/assets", POINTS)
    problem = assert_problem(shared_world.post("/v1/assets", {**POINTS, field: value}), 409, "asset_exists")
    assert (problem["currency_code"], problem["field"]) == ("BONUS_POINTS", field)
    for statement in ("UPDATE asset SET minor_units = 3", "DELETE FROM asset", "TRUNCATE asset"):
        with pytest.raises(Exception, match="append-only"):
            shared_world.sql(statement)


@pytest.mark.parametrize("code", ["EUR", "JPY", "XAU", "XXX"])
def test_an_asset_under_a_code_of_iso_4217_is_refused(shared_world: World, code: str) -> None:
    body = {"currency_code": code, "minor_units": 2, "name": "Mine"}
    assert assert_problem(shared_world.post("/v1/assets", body), 409, "asset_exists")["iso_4217"] is True


MALFORMED = {
    "too many minor units": {"minor_units": 19},
    "negative minor units": {"minor_units": -1},
    "minor units as text": {"minor_units": "2"},
    "a code in lower case": {"currency_code": "points"},
    "a short code": {"currency_code": "PT"},
    "an empty name": {"name": ""},
    "an unknown field": {"colour": "gold"},
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_asset_is_refused(shared_world: World, change: dict[str, object]) -> None:
    assert_problem(shared_world.post("/v1/assets", {**POINTS, **change}), 400, "malformed_request")


def test_the_edges_of_minor_units_are_taken(shared_world: World) -> None:
    for minor_units in (0, 18):
        body = {"currency_code": f"EDGE_{minor_units}", "minor_units": minor_units, "name": "edge"}
        assert shared_world.post("/v1/assets", body).status_code == 201


def test_registered_assets_are_listed_in_pages_by_code(world: World) -> None:
    codes = ["AAA_POINTS", "BBB_POINTS", "CCC_POINTS"]
    for code in reversed(codes):
        world.post("/v1/assets", {**POINTS, "currency_code": code})
    first = world.get("/v1/assets?limit=2").get_json()
    second = world.get(f"/v1/assets?limit=2&after={first['next']}").get_json()
    assert [one["currency_code"] for one in first["data"] + second["data"]] == codes
    assert second["next"] is None


def test_registering_needs_the_scope_to_write_accounts(shared_world: World) -> None:
    reader = shared_world.key_with(Scope.READ)
    assert_problem(shared_world.post("/v1/assets", POINTS, key=reader), 403, "forbidden")
    assert shared_world.get("/v1/assets/EUR", key=reader).status_code == 200
    assert_problem(
        shared_world.get("/v1/assets/EUR", key=shared_world.key_with(Scope.PAYMENTS_WRITE)), 403, "forbidden"
    )


# Between two editions of ISO 4217


def under(world: World, **changed: Asset | None) -> Assets:
    """The assets of a program whose table of ISO 4217 differs from today's; None takes a code out of it."""
    table = dict(iso_currencies())
    for code, currency in changed.items():
        if currency is None:
            del table[code]
        else:
            table[code] = currency
    return Assets(LedgerAssets(build_engine(world.settings, "tests")), table)


def test_a_currency_in_use_keeps_its_minor_units_when_the_standard_drops_or_changes_it(world: World) -> None:
    world.account("alice", currency_code="ISK")
    world.account("bob", currency_code="JPY")
    later = under(world, ISK=None, JPY=Asset("JPY", 2, "Yen"))
    for code, minor_units in (("ISK", 0), ("JPY", 0)):
        kept = later.get(code)
        assert kept is not None
        assert (kept.minor_units, kept.is_iso) == (minor_units, True)
        refusal = later.register(Asset(code, 2, "Mine"), "tests")
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.figures["minor_units"]) == (RefusalCode.ASSET_EXISTS, minor_units)


def test_a_registered_asset_keeps_its_minor_units_when_the_standard_takes_its_code(world: World) -> None:
    mine = Asset("XCG", 4, "Guilders of our own")
    earlier = under(world, XCG=None) if "XCG" in iso_currencies() else under(world)
    registered = earlier.register(mine, "tests")
    assert isinstance(registered, tuple)
    later = under(world, XCG=Asset("XCG", 2, "Caribbean guilder"))
    assert later.get("XCG") == registered[0]
    assert later.register(mine, "tests") == (registered[0], False)
    world.account("alice", currency_code="XCG")
    assert world.get("/v1/assets/XCG").get_json()["minor_units"] == 4


def test_a_currency_that_nobody_uses_follows_the_standard(world: World) -> None:
    assert under(world, ISK=None).get("ISK") is None
    later = under(world, ISK=Asset("ISK", 2, "Krona")).get("ISK")
    assert later is not None
    assert later.minor_units == 2


def test_an_upgrade_keeps_the_currencies_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.post("/v1/assets", POINTS)
    for code in ("EUR", "JPY", "BONUS_POINTS"):
        world.account(f"in-{code}", currency_code=code)
    world.sql("DROP TABLE used_currency")
    world.sql("UPDATE alembic_version SET version_num = '0007'")
    to = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: to(config, "0008"))  # what follows is there already
    upgrade(world.settings.owner_database_url)
    used = world.sql("SELECT currency_code, minor_units FROM used_currency ORDER BY 1")
    assert used == [("EUR", 2), ("JPY", 0)]
