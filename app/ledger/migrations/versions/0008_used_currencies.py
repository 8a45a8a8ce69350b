"""Currencies in use: the ledger keeps their minor units, whatever later tables of ISO 4217 say."""

from pathlib import Path

from alembic import op
from iso4217 import Currency
from sqlalchemy import text

revision = "0008"
down_revision = "0007"

HERE = Path(__file__).parent

_IN_USE = "SELECT DISTINCT currency_code FROM account EXCEPT SELECT currency_code FROM asset"


def upgrade() -> None:
    """Create the table, and keep the currencies that accounts are in as the table of today has them."""
    connection = op.get_bind()
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None
    driver_connection.execute((HERE / "0008_used_currencies.sql").read_text())
    iso = {one.code: one for one in Currency if one.exponent is not None}
    for code in connection.execute(text(_IN_USE)).scalars().all():
        if code in iso:
            connection.execute(
                text("INSERT INTO used_currency (currency_code, minor_units, name) VALUES (:code, :units, :name)"),
                {"code": code, "units": iso[code].exponent, "name": iso[code].currency_name},
            )


def downgrade() -> None:
    """Refuse: the ledger is not deleted by a tool."""
    raise NotImplementedError("the ledger is never dropped by a migration")
