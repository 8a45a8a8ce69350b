"""`keys`: create, list and revoke API keys.

Keys are made and revoked with the rights of the ledger's owner (HOLDFAST_OWNER_DATABASE_URL): the role that the API and
the workers take on may only read them, so whoever gets hold of their connection makes no key.
"""

import argparse
import sys

from psycopg.errors import InsufficientPrivilege

from app.commands.connection import connected
from app.domain.errors import CacheUnavailable, OutcomeUnknown
from app.domain.timestamps import rfc3339
from app.ledger.api_keys import LedgerApiKeys
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key
from app.settings import Settings
from app.wiring.cache import build_cache

ACTOR = "command line"


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        try:
            return _act(arguments, LedgerApiKeys(owner_engine(settings.owner_database_url)), settings)
        except InsufficientPrivilege:
            print(
                "This role may only read API keys. Set HOLDFAST_OWNER_DATABASE_URL to the URL of the schema's owner.",
                file=sys.stderr,
            )
            return 1


def _act(arguments: argparse.Namespace, ledger: LedgerApiKeys, settings: Settings) -> int:
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
    when = "now" if _spread(arguments.key_id, settings) else "within five seconds: the cache does not answer"
    print(f"Key {arguments.key_id} is revoked, {when}.")
    return 0


def _spread(key_id: str, settings: Settings) -> bool:
    """Tell every process of the API; returns whether the cache took the message."""
    try:
        build_cache(settings, "keys").revocations.spread(key_id)
    except (CacheUnavailable, OutcomeUnknown):
        return False
    return True


def ensure_first_key(owner_database_url: str) -> str | None:
    """Make a key with all rights if there is none at all; returns it when it is new."""
    ledger = LedgerApiKeys(owner_engine(owner_database_url))
    if ledger.all():
        return None
    return create_key(ledger, "first key", [Scope.ADMIN], ACTOR)
