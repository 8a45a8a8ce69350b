"""`migrate`: bring the database schema up to date."""

import argparse

from app.commands.connection import connected
from app.ledger.migrate import upgrade


def run(arguments: argparse.Namespace) -> int:
    """Migrate, and say so."""
    with connected(arguments.data_dir) as settings:
        upgrade(settings.owner_database_url, settings.partitions)
    print("The database schema is up to date.")
    return 0
