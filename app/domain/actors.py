"""Actors: how the ledger writes who did something, and how a sentence names them.

Parts of the system are written as `command line`, `clock` and so on.
"""

USER_ACTOR = "user:"
"""How the actor of a person begins; their name follows."""

KEY_ACTOR = "key:"
"""How the actor of an API key begins; its id follows."""

_PARTS = {
    "cache identity": "the check of the cache's identity",
    **{name: f"the {name}" for name in ("command line", "clock", "replay", "audit", "reconciler")},
}
"""Parts of the system that act for nobody."""


def user_actor(user_id: str) -> str:
    """The actor that a person is."""
    return f"{USER_ACTOR}{user_id}"


def key_actor(key_id: str) -> str:
    """The actor that an API key is."""
    return f"{KEY_ACTOR}{key_id}"


def actor_in_words(actor: str) -> str:
    """Who it is, within a sentence: `jane`, `the key 1f266f88ec2f`, `the command line`."""
    if actor.startswith(USER_ACTOR):
        return actor.removeprefix(USER_ACTOR)
    if actor.startswith(KEY_ACTOR):
        return f"the key {actor.removeprefix(KEY_ACTOR)}"
    return _PARTS.get(actor, actor)
