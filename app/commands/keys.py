"""`keys`: create, list and revoke API keys."""

import argparse
from pathlib import Path

from app.commands.connection import connected
from app.domain.timestamps import rfc3339
from app.ledger.api_keys import LedgerApiKeys
from app.services.access.api_keys import Scope, create_key
from app.settings import Settings
from app.wiring.verbs import build_engine

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
        # Accepted after the action too, where people type it; the parser above has the default.
        action.add_argument("--data-dir", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        ledger = LedgerApiKeys(build_engine(settings, "keys"))
        if arguments.action == "create":
            scopes = [Scope(name) for name in arguments.scope or (Scope.READ, Scope.PAYMENTS_WRITE)]
            print(create_key(ledger, arguments.name, scopes, ACTOR))
            return 0
        if arguments.action == "list":
            for key in ledger.all():
                state = f"revoked {rfc3339(key.revoked_at)}" if key.revoked_at else "active"
                print(
                    f"{key.key_id}  {rfc3339(key.created_at)}  {state:<32}  {','.join(sorted(key.scopes))}  {key.name}"
                )
            return 0
        if not ledger.revoke(arguments.key_id, ACTOR):
            print(f"There is no active key {arguments.key_id!r}.")
            return 1
        print(f"Key {arguments.key_id} is revoked.")
        return 0


def ensure_first_key(settings: Settings) -> str | None:
    """Make a key with all rights if there is none at all; returns it when it is new."""
    ledger = LedgerApiKeys(build_engine(settings, "keys"))
    if ledger.all():
        return None
    return create_key(ledger, "first key", [Scope.ADMIN], ACTOR)
