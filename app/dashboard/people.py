"""Actors as people read them: a person by their name, a key by the name that it was given."""

from functools import lru_cache

from app.dashboard.context import PageServices, here
from app.domain.actors import KEY_ACTOR, actor_in_words
from app.domain.errors import Fault
from app.domain.refusals import Refusal


def name_of(actor: str) -> str:
    """Who did it, in words: `mira`, `the key “checkout”`, `the command line`."""
    if actor.startswith(KEY_ACTOR):
        try:
            name = _key_name(here(), actor.removeprefix(KEY_ACTOR))
        except Fault:
            name = None
        if name is not None:
            return f"the key “{name}”"
    return actor_in_words(actor)


@lru_cache(1_000)
def _key_name(services: PageServices, key_id: str) -> str | None:
    """The name of a key, which never changes; None if there is none with this id."""
    found = services.api.keys.get(key_id, None)
    return None if isinstance(found, Refusal) else found.name
