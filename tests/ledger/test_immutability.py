"""The ledger refuses to be changed: by the app's role, and by its owner."""

import psycopg
import pytest
from psycopg import errors

from tests.world import World

APPEND_ONLY = (
    "ledger_transaction",
    "entry",
    "payment_rejection",
    "payment_duplicate",
    "payment_return",
    "hold_event",
    "asset",
    "used_currency",
    "audit_event",
    "audit_call",
    "reconciliation_break_event",
    "chain_head_export",
    "signing_key",
    "signed_head",
    "merkle_subtree",
    "statement_source",
    "statement_import",
    "statement",
    "statement_line",
    "statement_batch",
    "statement_break",
    "statement_account",
    "matching_setup",
    "match_run",
    "match_event",
    "sign_off",
    "webhook_attempt",
    "monitor_crossing",
    "journal_proposal",
    "journal_decision",
    "journal_template",
)
WRITTEN_BY_TRIGGERS = {"event_log", "event_held", "event_floor"}
"""Append-only, and the app may not even append."""
REFERENCED = {
    *("statement_source", "statement_import", "statement", "statement_line", "statement_account", "matching_setup"),
    *("match_run", "journal_proposal"),
}
"""Tables that others refer to by a foreign key: Postgres refuses to truncate them alone before it asks a trigger."""
CHANGES = {
    "update": "UPDATE {table} SET {column} = {column}",
    "delete": "DELETE FROM {table}",
    "truncate": "TRUNCATE {table}",
    "truncate cascade": "TRUNCATE {table} CASCADE",
}
A_COLUMN = {
    "ledger_transaction": "description",
    "entry": "amount_minor",
    "payment_rejection": "detail",
    "payment_duplicate": "original_payment_id",
    "payment_return": "amount_minor",
    "hold_event": "payment_id",
    "asset": "name",
    "used_currency": "minor_units",
    "audit_event": "action",
    "audit_call": "action",
    "reconciliation_break_event": "note",
    "chain_head_export": "chain_hash",
    "signing_key": "public_key",
    "signed_head": "merkle_root",
    "merkle_subtree": "hash",
    "statement_source": "options",
    "statement_import": "file_name",
    "statement": "name",
    "statement_line": "amount_minor",
    "statement_batch": "batch_id",
    "statement_break": "detail",
    "statement_account": "account_ref",
    "matching_setup": "rules",
    "match_run": "run_by",
    "match_event": "reason",
    "sign_off": "summary",
    "webhook_attempt": "status",
    "monitor_crossing": "monitor_id",
    "journal_proposal": "reason",
    "journal_decision": "decision",
    "journal_template": "name",
}


def test_the_owner_cannot_change_written_rows(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    for table in APPEND_ONLY:
        for name, change in CHANGES.items():
            refusal: tuple[type[Exception], str] = errors.RestrictViolation, "append-only"
            if name == "truncate" and table in REFERENCED:
                refusal = errors.FeatureNotSupported, "referenced in a foreign key"
            with pytest.raises(refusal[0], match=refusal[1]):
                world.owner.execute(change.format(table=table, column=A_COLUMN[table]))
    assert world.booked("alice") == 100


def test_the_app_cannot_change_written_rows(world: World) -> None:
    with world.connect(owner=False) as app:
        for table in APPEND_ONLY:
            for change in CHANGES.values():
                with pytest.raises(errors.InsufficientPrivilege):
                    app.execute(change.format(table=table, column=A_COLUMN[table]))


def test_every_table_that_the_app_may_only_append_to_guards_itself(world: World) -> None:
    """A table added later is in this list, or may be updated in some column, or is one whose rows come and go."""
    insertable = {row[0] for row in world.rows(_PRIVILEGES, "INSERT")}
    updatable = {row[0] for row in world.rows(_PRIVILEGES, "UPDATE")}
    deletable = {row[0] for row in world.rows(_DELETABLE)}
    assert deletable == {"unfinished_change", "sign_in_try", "conflict_hour", "webhook_waiting"}, "state, and no record"
    assert insertable - updatable - deletable == set(APPEND_ONLY)
    triggers = world.rows(
        """SELECT event_object_table, array_agg(event_manipulation::text ORDER BY 1)
        FROM information_schema.triggers WHERE trigger_name LIKE '%%append_only' GROUP BY 1""".replace("%%", "%")
    )
    assert {table for table, _ in triggers} == set(APPEND_ONLY) | WRITTEN_BY_TRIGGERS
    assert not insertable & WRITTEN_BY_TRIGGERS


_DELETABLE = """
SELECT table_name FROM information_schema.table_privileges
WHERE grantee = 'holdfast_app' AND privilege_type = 'DELETE'
"""
_PRIVILEGES = """
SELECT DISTINCT table_name FROM information_schema.column_privileges
WHERE grantee = 'holdfast_app' AND privilege_type = %s
"""


FORBIDDEN_TO_THE_APP = {
    "delete accounts": "DELETE FROM account",
    "delete balances": "DELETE FROM account_balance",
    "delete partitions": "DELETE FROM partition",
    "delete breaks": "DELETE FROM reconciliation_break",
    "delete runs": "DELETE FROM reconciliation_run",
    "delete keys": "DELETE FROM api_key",
    "delete settings": "DELETE FROM ledger_setting",
    "truncate balances": "TRUNCATE account_balance",
    "add a partition": "INSERT INTO partition (partition, chain_hash) VALUES (99, '')",
    "move an account to another entity": "UPDATE account SET entity_id = 'other'",
    "change a type": "UPDATE account SET type = 'asset'",
    "change a currency": "UPDATE account_balance SET currency_code = 'USD'",
    "change a sign": "UPDATE account_balance SET normal_sign = 1",
    "backdate a break": "UPDATE reconciliation_break SET first_seen_at = now()",
    "make a key": "INSERT INTO api_key (key_id, name, secret_hash, scopes) VALUES ('k', 'k', '', '{}')",
    "revoke a key": "UPDATE api_key SET revoked_at = now()",
    "change a secret": "UPDATE api_key SET secret_hash = ''",
    "drop a guard": "DROP TRIGGER partition_head_founded ON partition",
    "replace another guard": "ALTER FUNCTION refuse_unfounded_head() RENAME TO it",
    "disable triggers": "ALTER TABLE entry DISABLE TRIGGER ALL",
    "disable one trigger": "ALTER TABLE entry DISABLE TRIGGER entry_append_only",
    "drop a trigger": "DROP TRIGGER entry_append_only ON entry",
    "replace a guard": "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT NULL'",
    "skip triggers": "SET session_replication_role = replica",
    "drop a table": "DROP TABLE entry",
    "drop a constraint": "ALTER TABLE account_balance DROP CONSTRAINT account_balance_in_range",
    "add a rule": "CREATE RULE ignore AS ON INSERT TO entry DO INSTEAD NOTHING",
    "create a table": "CREATE TABLE public.mine (a int)",
    "give itself rights": "GRANT DELETE ON entry TO holdfast_app",
    "become the owner": "SET ROLE holdfast_owner",
    "reset the schema version": "DELETE FROM alembic_version",
}


@pytest.fixture
def app_connection(world: World) -> psycopg.Connection[tuple[object, ...]]:
    return world.connect(owner=False)


def test_the_app_cannot_weaken_the_ledger(world: World, app_connection: psycopg.Connection[tuple[object, ...]]) -> None:
    allowed = []
    for name, statement in FORBIDDEN_TO_THE_APP.items():
        try:
            app_connection.execute(statement)
        except (errors.InsufficientPrivilege, errors.RestrictViolation):
            continue
        except errors.WarningMessage:  # pragma: no cover
            pass
        if name == "give itself rights":  # Postgres only warns when nothing can be granted
            [(may_delete,)] = world.rows("SELECT has_table_privilege('holdfast_app', 'entry', 'DELETE')")
            if not may_delete:
                continue
        allowed.append(name)
    assert allowed == []


def test_every_connection_acts_as_the_apps_role(world: World) -> None:
    """An operator who gives the owner's URL as DATABASE_URL still runs the app with the app's rights."""
    from app.ledger.connections import connect

    with connect(world.urls.owner_database_url, application_name="test") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("holdfast_app",)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("DELETE FROM entry")
