"""Actors as people read them: a person by their name, a key by the name that it was given."""

from functools import lru_cache

from app.dashboard.context import PageServices, here
from app.domain.audit import KEY_ACTOR
from app.domain.errors import Fault
from app.domain.refusals import Refusal
from app.domain.users import USER_ACTOR


def name_of(actor: str) -> str:
    """Who did it, in words: `mira`, `the key “checkout”`, or the actor as it is recorded."""
    if actor.startswith(USER_ACTOR):
        return actor.removeprefix(USER_ACTOR)
    if actor.startswith(KEY_ACTOR):
        try:
            return _key_name(here(), actor.removeprefix(KEY_ACTOR))
        except Fault:
            return actor
    return actor


@lru_cache(1_000)
def _key_name(services: PageServices, key_id: str) -> str:
    """The name of a key, which never changes."""
    found = services.api.keys.get(key_id, None)
    return f"{KEY_ACTOR}{key_id}" if isinstance(found, Refusal) else f"the key “{found.name}”"
