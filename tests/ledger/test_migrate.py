"""The quick look at the start agrees with the tool that migrates."""

import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.embedded.servers import ServerUrls
from app.ledger.migrate import MIGRATIONS, is_prepared, newest_version


def test_the_newest_version_is_the_migration_tools() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert newest_version() == ScriptDirectory.from_config(config).get_current_head()


def test_a_database_is_prepared_when_its_schema_is_current_and_it_has_a_key_and_a_user(fresh_urls: ServerUrls) -> None:
    assert not is_prepared(fresh_urls.database_url), "there is no key"
    with psycopg.connect(fresh_urls.owner_database_url) as connection:
        connection.execute("INSERT INTO api_key (key_id, name, secret_hash, scopes) VALUES ('k', 'k', '', '{read}')")
    assert not is_prepared(fresh_urls.database_url), "there is no user"
    with psycopg.connect(fresh_urls.owner_database_url) as connection:
        connection.execute("INSERT INTO app_user (user_id, role, created_by) VALUES ('somebody', 'admin', 'tests')")
    assert is_prepared(fresh_urls.database_url)
    with psycopg.connect(fresh_urls.owner_database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    assert not is_prepared(fresh_urls.database_url)


def test_a_database_that_does_not_answer_is_not_prepared(fresh_urls: ServerUrls) -> None:
    assert not is_prepared(fresh_urls.database_url.replace("holdfast_app:", "holdfast_app:x"))
    assert not is_prepared(fresh_urls.owner_database_url.rpartition("/")[0] + "/postgres")
