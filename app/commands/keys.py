"""`keys`: create, list and revoke API keys.

Keys are made and revoked with the rights of the ledger's owner (HOLDFAST_OWNER_DATABASE_URL): the role that the API and
the workers take on may only read them, so whoever gets hold of their connection makes no key.
"""

import argparse
import sys

from psycopg.errors import InsufficientPrivilege

from app.commands.connection import connected
from app.domain.timestamps import rfc3339
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key

ACTOR = "command line"


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        try:
            return _act(arguments, LedgerApiKeys(owner_engine(settings.owner_database_url)))
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


def ensure_first_key(owner_database_url: str) -> str | None:
    """Make a key with all rights if there is none at all; returns it when it is new."""
    ledger = LedgerApiKeys(owner_engine(owner_database_url))
    if ledger.all():
        return None
    return create_key(ledger, "first key", [Scope.ADMIN], ACTOR)
