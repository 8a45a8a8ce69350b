"""Names of the keys; `lua/README.md` is the map with their types and meaning.

Every key begins with the hash tag of its partition. Kinds of which there is one a partition have words for names; those
of which there are millions have letters: each byte stands in the memory, in the append-only file and on the way there.
"""

from functools import lru_cache

SETTLED_CHANNEL = "hf:settled"

ACCOUNT, RECORD, CLAIM = "a", "r", "c"
"""The kinds with letters."""


def outbox(partition: int) -> str:
    """The stream of intents not yet settled."""
    return f"hf:{{{partition}}}:outbox"


def directory(partition: int) -> str:
    """The directory version that callers of this partition must know."""
    return f"hf:{{{partition}}}:directory"


def awake(partition: int) -> str:
    """The mark of a drain at work."""
    return f"hf:{{{partition}}}:awake"


def tally(partition: int) -> str:
    """Counts for the metrics."""
    return f"hf:{{{partition}}}:tally"


def account(partition: int, account_id: str) -> str:
    """An account's hot state."""
    return _partition(partition, ACCOUNT) + account_id


def pattern(kind: str) -> str:
    """What matches all keys of a kind, for a scan; and keys of other kinds whose ids look like it."""
    return f"hf:{{*}}:{kind}:*"


def account_of(key: str) -> tuple[int, str] | None:
    """Partition and id of an account, from its key; None for a key of another kind."""
    _, partition, kind, account_id = key.split(":", 3)
    return (int(partition.strip("{}")), account_id) if kind == ACCOUNT else None


def record(partition: int, entity_id: str, external_id: str) -> str:
    """The idempotency record of a payment."""
    return _entity(partition, RECORD, entity_id) + external_id


def claim(partition: int, entity_id: str, external_id: str) -> str:
    """The directory entry of an external id."""
    return _entity(partition, CLAIM, entity_id) + external_id


def conclusion(partition: int, position: str) -> str:
    """What became of the authorization at a position."""
    return f"hf:{{{partition}}}:conclusion:{position}"


@lru_cache(maxsize=1_024)
def _partition(partition: int, kind: str) -> str:
    """How the keys of a kind begin; the same few are needed for every payment."""
    return f"hf:{{{partition}}}:{kind}:"


@lru_cache(maxsize=1_024)
def _entity(partition: int, kind: str, entity_id: str) -> str:
    """How an entity's keys begin; its id has no colon here, so it cannot be read together with what is behind it."""
    return _partition(partition, kind) + entity_id.replace("%", "%25").replace(":", "%3A") + ":"
