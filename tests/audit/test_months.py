"""The audit by month: made ahead, dropped whole when their time is over, and guarded against the app itself."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import errors

from app.ledger.audit_records import MONTHS_AHEAD, AuditMonths
from app.ledger.migrate import is_prepared, set_audit_retention
from tests.api.world import BANK
from tests.audit.world import AuditWorld

_MONTHS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit_call'::regclass ORDER BY 1
"""
OTHER = "call_other"


def months(world: AuditWorld) -> list[str]:
    return [name for (name,) in world.sql(_MONTHS)]


def name_of(year: int, month: int) -> str:
    return f"call_{year + (month - 1) // 12}_{(month - 1) % 12 + 1:02}"


def add_month(world: AuditWorld, year: int, month: int) -> str:
    """A month of the past with one record."""
    name, upper = name_of(year, month), name_of(year, month + 1).removeprefix("call_").replace("_", "-")
    lower = name.removeprefix("call_").replace("_", "-")
    world.sql(f"CREATE TABLE audit.{name} (LIKE audit_call INCLUDING ALL)")
    bounds = f"FROM ('{lower}-01 00:00+00') TO ('{upper}-01 00:00+00')"
    world.sql(f"ALTER TABLE audit_call ATTACH PARTITION audit.{name} FOR VALUES {bounds}")
    world.sql(f"INSERT INTO audit_call (recorded_at, called_at) VALUES ('{lower}-15', '{lower}-15')")
    return name


def test_the_coming_months_are_made_ahead(world: AuditWorld) -> None:
    now = datetime.now(UTC)
    expected = [name_of(now.year, now.month + ahead) for ahead in range(MONTHS_AHEAD + 1)]
    assert months(world) == sorted([*expected, OTHER])
    world.sql(f"DROP TABLE audit.{expected[2]}")
    keeper = AuditMonths(world.settings.database_url)
    assert keeper.make() == 1
    assert keeper.make() == 0
    assert months(world) == sorted([*expected, OTHER])


def test_a_payment_posts_where_nobody_has_made_a_month(world: AuditWorld) -> None:
    world.funded("alice")
    for name in months(world):
        if name != OTHER:
            world.sql(f"DROP TABLE audit.{name}")
    world.post("/v1/payments", _body(), headers=world.named("homeless"))
    world.drained()
    assert world.record("homeless")["action"] == "payment"
    assert world.sql(f"SELECT count(*) > 0 FROM audit.{OTHER}") == [(True,)]
    keeper = AuditMonths(world.settings.database_url)
    assert keeper.make() == MONTHS_AHEAD, "this month's records stay where they are"
    assert world.record("homeless")["action"] == "payment"


def _body() -> dict[str, object]:
    return {
        "external_id": "x",
        "source_account_id": "alice",
        "destination_account_id": BANK,
        "amount_minor": 1,
        "currency_code": "EUR",
    }


def test_months_past_the_retention_are_dropped_and_recorded(world: AuditWorld) -> None:
    keeper = AuditMonths(world.settings.database_url)
    old, older = add_month(world, 2024, 2), add_month(world, 2023, 12)
    recent = datetime.now(UTC)
    last = (
        add_month(world, recent.year, recent.month - 1) if recent.month > 1 else add_month(world, recent.year - 1, 12)
    )
    keeper.run_once()
    assert {old, older, last} <= set(months(world)), "without a retention all is kept"
    set_audit_retention(world.settings.owner_database_url, 60)
    keeper.run_once()
    assert {old, older} & set(months(world)) == set()
    assert last in months(world)
    found = world.records("action IN ('audit.month.drop', 'audit.retention.change')")
    assert [(one["action"], one["actor"]) for one in found] == [
        ("audit.retention.change", "owner"),
        ("audit.month.drop", "clock"),
        ("audit.month.drop", "clock"),
    ]
    assert "2023-12-01" in found[1]["response"]
    assert '"retention_days": 60' in found[1]["response"]
    assert world.records("called_at < '2025-01-01'") == []


def test_a_retention_is_recorded_only_where_it_changes(world: AuditWorld) -> None:
    urls = world.settings
    assert is_prepared(urls.owner_database_url) is False, "there is no key yet"
    _ = world.key
    assert is_prepared(urls.owner_database_url) is False, "there is no user yet"
    world.sql("INSERT INTO app_user (user_id, role, created_by) VALUES ('somebody', 'admin', 'tests')")
    assert is_prepared(urls.owner_database_url)
    for days in (90, 90, 0):
        assert is_prepared(urls.owner_database_url, days) == (days == 90 and bool(world.records(_RETENTION)))
        set_audit_retention(urls.owner_database_url, days)
    assert len(world.records(_RETENTION)) == 2


_RETENTION = "action = 'audit.retention.change'"

FORBIDDEN_TO_THE_APP = {
    "set the retention": "SELECT audit_set_retention(1)",
    "set it directly": "INSERT INTO audit_retention (days) VALUES (1)",
    "drop a month": "DROP TABLE audit.call_other",
    "look into a month past the table": "SELECT * FROM audit.call_other",
    "write into a month past the table": "INSERT INTO audit.call_other (called_at) VALUES (now())",
    "backdate a record": "INSERT INTO audit_call (called_at, recorded_at) VALUES (now(), '2020-01-01')",
    "number a record": "INSERT INTO audit_call (called_at, number) VALUES (now(), 1)",
    "set the numbers back": "SELECT setval('audit_call_number', 1)",
    "record a drop": "INSERT INTO audit_call (called_at, action) VALUES (now(), 'audit.month.drop')",
    "detach a month": "ALTER TABLE audit_call DETACH PARTITION audit.call_other",
}


@pytest.mark.parametrize("name", FORBIDDEN_TO_THE_APP)
def test_the_app_cannot(world: AuditWorld, name: str) -> None:
    with psycopg.connect(world.settings.database_url, autocommit=True) as connection:
        connection.execute("SET ROLE holdfast_app")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(FORBIDDEN_TO_THE_APP[name])


def test_nobody_changes_a_record_of_a_month(world: AuditWorld) -> None:
    world.account("alice")
    for name in months(world):
        for change in (f"DELETE FROM audit.{name}", f"UPDATE audit.{name} SET actor = 'x'", f"TRUNCATE audit.{name}"):
            with pytest.raises(errors.RestrictViolation, match="append-only"):
                world.sql(change)
