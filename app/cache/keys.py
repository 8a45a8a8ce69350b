"""Names of the keys, and the scripts of `lua/` that work on them; `lua/README.md` is the map with types and meaning."""

from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any

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


def conclusion(partition: int, stream_id: str) -> str:
    """What became of the authorization at a position."""
    return f"hf:{{{partition}}}:conclusion:{stream_id}"


@lru_cache(maxsize=1_024)
def _partition(partition: int, kind: str) -> str:
    """How the keys of a kind begin; the same few are needed for every payment."""
    return f"hf:{{{partition}}}:{kind}:"


@lru_cache(maxsize=1_024)
def _entity(partition: int, kind: str, entity_id: str) -> str:
    """How an entity's keys begin; its id has no colon here, so it cannot be read together with what is behind it."""
    return _partition(partition, kind) + entity_id.replace("%", "%25").replace(":", "%3A") + ":"


LUA_FOLDER = Path(__file__).resolve().parents[2] / "lua"
SHARED = "funds"
"""The part that the scripts about funds share. Redis has no modules, so it stands in front of each of them."""


class Script:
    """One script of `lua/`."""

    def __init__(self, verb: str, *parts: str) -> None:
        """`parts` are the files that stand in front of it."""
        self.verb = verb
        self.source = "".join((LUA_FOLDER / f"{part}.lua").read_text() for part in (*parts, verb))
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: list[str], args: list[Any]) -> tuple[Any, ...]:
        """The command that calls the script by digest; a server that does not know it yet answers NOSCRIPT."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


RESERVE = Script("reserve", SHARED)
SETTLE = Script("settle", SHARED)
CONCLUDE = Script("conclude", SHARED)
HYDRATE = Script("hydrate", SHARED)
REBUILD = Script("rebuild", SHARED)
LIMIT = Script("limit", SHARED)
OPEN = Script("open")
INSPECT = Script("inspect", SHARED)
WITNESS = Script("witness")

ALL = (RESERVE, SETTLE, CONCLUDE, HYDRATE, REBUILD, LIMIT, OPEN, INSPECT, WITNESS)
