"""`users`: invite, list and disable the people who use the pages.

Like API keys, users are made with the rights of the ledger's owner: somebody who gets hold of the app's connection
invites nobody.
"""

import argparse
import sys
from datetime import UTC, datetime

from psycopg.errors import InsufficientPrivilege

from app.commands.connection import ACTOR, connected
from app.domain.timestamps import rfc3339
from app.domain.users import Role
from app.embedded.attach import announced
from app.ledger.engine import owner_engine
from app.ledger.users import LedgerUsers
from app.services.access.users import invite

FIRST_ADMIN = "admin"


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        running = announced(arguments.data_dir)
        address = settings.public_url or (running.address if running else "http://127.0.0.1:8080")
        try:
            return _act(arguments, LedgerUsers(owner_engine(settings.owner_database_url)), address)
        except InsufficientPrivilege:
            print(
                "This role may not make users. Set HOLDFAST_OWNER_DATABASE_URL to the URL of the schema's owner.",
                file=sys.stderr,
            )
            return 1


def _act(arguments: argparse.Namespace, ledger: LedgerUsers, address: str) -> int:
    if arguments.action == "invite":
        token = invite(ledger, arguments.name, Role(arguments.role), ACTOR, datetime.now(UTC))
        print(link_of(address, token))
        return 0
    if arguments.action == "list":
        for user in ledger.all():
            second = "second factor" if user.totp_secret else ""
            print(
                f"{user.user_id:<24}  {user.role:<10}  {user.state:<8}  {rfc3339(user.created_at)}  {second}".rstrip()
            )
        return 0
    if not ledger.disable(arguments.name, ACTOR):
        print(f"There is no user {arguments.name!r} to disable.")
        return 1
    print(f"User {arguments.name} is disabled, and signed out everywhere.")
    return 0


def ensure_first_user(owner_database_url: str, address: str) -> str | None:
    """Invite an admin if there is no user at all; returns the link when it is new."""
    ledger = LedgerUsers(owner_engine(owner_database_url))
    if ledger.all():
        return None
    return link_of(address, invite(ledger, FIRST_ADMIN, Role.ADMIN, ACTOR, datetime.now(UTC)))


def link_of(address: str, token: str) -> str:
    """Where an invitation leads."""
    return f"{address.rstrip('/')}/invitation/{token}"
