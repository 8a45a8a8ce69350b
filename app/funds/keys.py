"""Names of the keys; `lua/README.md` is the map with their types and meaning."""

SETTLED_CHANNEL = "hf:settled"


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
    return f"hf:{{{partition}}}:account:{account_id}"


ACCOUNT_PATTERN = "hf:{*}:account:*"
"""Matches the accounts, for a scan; and keys of other kinds whose ids look like it."""


def account_of(key: str) -> tuple[int, str] | None:
    """Partition and id of an account, from its key; None for a key of another kind."""
    _, partition, kind, account_id = key.split(":", 3)
    return (int(partition.strip("{}")), account_id) if kind == "account" else None


def record(partition: int, entity_id: str, external_id: str) -> str:
    """The idempotency record of a payment."""
    return f"hf:{{{partition}}}:record:{_escaped(entity_id)}:{external_id}"


def claim(partition: int, entity_id: str, external_id: str) -> str:
    """The directory entry of an external id."""
    return f"hf:{{{partition}}}:claim:{_escaped(entity_id)}:{external_id}"


def _escaped(entity_id: str) -> str:
    """An entity id without a colon, so that it can never be read together with the external id behind it."""
    return entity_id.replace("%", "%25").replace(":", "%3A")


def conclusion(partition: int, position: str) -> str:
    """What became of the authorization at a position."""
    return f"hf:{{{partition}}}:conclusion:{position}"
