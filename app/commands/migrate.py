"""`migrate`: bring the database schema up to date."""

import argparse

from app.commands.connection import connected
from app.ledger.migrate import set_audit_retention, upgrade


def run(arguments: argparse.Namespace) -> int:
    """Migrate, and say so."""
    with connected(arguments.data_dir) as settings:
        upgrade(settings.owner_database_url, settings.partitions)
        set_audit_retention(settings.owner_database_url, settings.audit_retention_days)
    print("The database schema is up to date.")
    return 0
