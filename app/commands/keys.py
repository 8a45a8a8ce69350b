"""`keys`: create, list, revoke and rotate API keys.

Keys are made and revoked with the rights of the ledger's owner (HOLDFAST_OWNER_DATABASE_URL): the role that the API and
the workers take on may only read them, so somebody who gets hold of their connection makes no key.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta

from psycopg.errors import InsufficientPrivilege

from app.commands.connection import ACTOR, connected
from app.domain.api_keys import KeyOutcome, NewKey
from app.domain.rate_limits import RateLimit
from app.domain.refusals import Refusal
from app.domain.timestamps import rfc3339
from app.domain.wording import counted
from app.ledger.api_keys import LedgerApiKeys, StoredKey
from app.ledger.engine import owner_engine
from app.services.access.api_keys import Scope, create_key
from app.services.access.key_administration import KeyAdministration
from app.settings import Settings
from app.wiring.cache import build_cache


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    with connected(arguments.data_dir) as settings:
        try:
            return ACTIONS[arguments.action](arguments, settings)
        except InsufficientPrivilege:
            print(
                "This role may only read API keys. Set HOLDFAST_OWNER_DATABASE_URL to the URL of the schema's owner.",
                file=sys.stderr,
            )
            return 1


def _create(arguments: argparse.Namespace, settings: Settings) -> int:
    days = arguments.days
    new = NewKey(
        name=arguments.name,
        scopes=arguments.scope or [Scope.READ.value, Scope.PAYMENTS_WRITE.value],
        entities=arguments.entity,
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
        limit=None if arguments.rate is None else RateLimit(*arguments.rate),
    )
    issued = _administration(settings).create(new, ACTOR)
    assert not isinstance(issued, Refusal), "the owner is refused nothing"
    print(issued.key)
    return 0


def _list(_: argparse.Namespace, settings: Settings) -> int:
    for key in _ledger(settings).all():
        print("  ".join(_columns(key)))
    return 0


def _columns(key: StoredKey) -> list[str]:
    """What the list shows of a key; what it lacks is not shown."""
    ended = key.revoked_at or key.expires_at
    state = f"{key.status} {rfc3339(ended)}" if ended is not None and key.status != "active" else key.status
    details = [
        "" if key.entities is None else f"only {','.join(sorted(key.entities))}",
        "" if key.expires_at is None or key.status != "active" else f"until {rfc3339(key.expires_at)}",
        "" if key.limit is None else f"{key.limit.per_second}/s, {key.limit.burst} at once",
        "never used" if key.last_used_at is None else f"used {rfc3339(key.last_used_at)}",
        "" if key.rotated_from is None else f"follows {key.rotated_from}",
    ]
    listed = [key.key_id, rfc3339(key.created_at), f"{state:<32}", ",".join(sorted(key.scopes))]
    return [*listed, *[one for one in details if one], key.name]


def _revoke(arguments: argparse.Namespace, settings: Settings) -> int:
    key_id = arguments.key_id
    if _ledger(settings).revoke(key_id, ACTOR) is not KeyOutcome.REVOKED:
        print(f"There is no active key {key_id!r}.")
        return 1
    is_spread = _administration(settings).spread(key_id)
    when = "now" if is_spread else "within five seconds: the cache does not answer"
    print(f"Key {key_id} is revoked, {when}.")
    return 0


def _rotate(arguments: argparse.Namespace, settings: Settings) -> int:
    key_id, hours = arguments.key_id, arguments.overlap_hours
    outcome = _administration(settings).rotate(key_id, timedelta(hours=hours), ACTOR)
    if isinstance(outcome, Refusal):
        print(outcome.detail)
        return 1
    print(outcome.key)
    validity = f"stays valid for {counted(hours, 'hour')}" if hours else "has ended"
    print(f"Key {key_id} {validity}.", file=sys.stderr)
    return 0


ACTIONS = {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}


def _ledger(settings: Settings) -> LedgerApiKeys:
    return LedgerApiKeys(owner_engine(settings.owner_database_url))


def _administration(settings: Settings) -> KeyAdministration:
    return KeyAdministration(_ledger(settings), build_cache(settings, "keys").revocations)


def ensure_first_key(owner_database_url: str) -> str | None:
    """Make a key with all rights if there is none at all; returns it when it is new."""
    ledger = LedgerApiKeys(owner_engine(owner_database_url))
    if ledger.all():
        return None
    return create_key(ledger, "first key", [Scope.ADMIN], ACTOR)
