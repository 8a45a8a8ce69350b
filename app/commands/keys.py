"""`keys`: create, list and revoke API keys.

Keys are made and revoked with the rights of the ledger's owner (HOLDFAST_OWNER_DATABASE_URL): the role that the API and
the workers take on may only read them, so whoever gets hold of their connection makes no key.
"""

import argparse
import sys
from pathlib import Path

from psycopg.errors import InsufficientPrivilege

from app.commands.session import connected
from app.domain.timestamps import rfc3339
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key
from app.settings import Settings

ACTOR = "command line"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which key."""
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", help="who or what will use it")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it may do; repeat for several (default: read and payments:write)",
    )
    actions.add_parser("list", help="list all keys, without their secrets")
    revoke = actions.add_parser("revoke", help="end a key; takes effect within five seconds")
    revoke.add_argument("key_id", help="the id that `keys list` shows")
    for action in actions.choices.values():
        # Also behind the action, where one would type it; the parser above has the default.
        action.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    with connected(arguments.data_dir) as settings:
        try:
            return _act(arguments, _ledger_keys(settings))
        except InsufficientPrivilege:
            print(
                "This role may only read API keys. Set HOLDFAST_OWNER_DATABASE_URL to the URL of the schema's owner.",
                file=sys.stderr,
            )
            return 1


def _act(arguments: argparse.Namespace, ledger: LedgerApiKeys) -> int:
    if arguments.action == "create":
        scopes = [Scope(name) for name in arguments.scope or (Scope.READ, Scope.PAYMENTS_WRITE)]
        print(create_key(ledger, arguments.name, scopes, ACTOR))
        return 0
    if arguments.action == "list":
        for key in ledger.all():
            state = f"revoked {rfc3339(key.revoked_at)}" if key.revoked_at else "active"
            print(f"{key.key_id}  {rfc3339(key.created_at)}  {state:<32}  {','.join(sorted(key.scopes))}  {key.name}")
        return 0
    if not ledger.revoke(arguments.key_id, ACTOR):
        print(f"There is no active key {arguments.key_id!r}.")
        return 1
    print(f"Key {arguments.key_id} is revoked.")
    return 0


def ensure_first_key(settings: Settings) -> str | None:
    """Make a key with all rights if there is none at all; returns it when it is new."""
    ledger = _ledger_keys(settings)
    if ledger.all():
        return None
    return create_key(ledger, "first key", [Scope.ADMIN], ACTOR)


def _ledger_keys(settings: Settings) -> LedgerApiKeys:
    return LedgerApiKeys(owner_engine(settings.owner_database_url))
