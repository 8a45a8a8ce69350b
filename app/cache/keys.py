"""The names of the keys, and the scripts of `lua/` that use them; `lua/README.md` lists the keys with their types."""

from hashlib import sha1
from pathlib import Path
from typing import Any

SETTLED_CHANNEL = "hf:settled"

REVOKED, REVOKED_CHANNEL = "hf:revoked", "hf:revocations"
"""The API keys that were revoked lately, and the channel that tells of one at once."""

ACCOUNT, RECORD, CLAIM = "a", "r", "c"
"""Kinds of keys that exist once per id; short, because there are millions."""


def outbox(partition: int) -> str:
    """The stream of intents not yet settled."""
    return f"hf:{{{partition}}}:outbox"


def directory(partition: int) -> str:
    """The directory version that callers of this partition must know."""
    return f"hf:{{{partition}}}:directory"


def identity(partition: int) -> str:
    """What tells this cache from an older copy of it: see `app/domain/cache_identity.py`."""
    return f"hf:{{{partition}}}:identity"


def awake(partition: int) -> str:
    """The mark of a running drain."""
    return f"hf:{{{partition}}}:awake"


def drains(partition: int) -> str:
    """The heartbeats of all drains, in the first partition."""
    return f"hf:{{{partition}}}:drains"


def tally(partition: int) -> str:
    """Counts for the metrics."""
    return f"hf:{{{partition}}}:tally"


def audit_tally(partition: int) -> str:
    """Counts for the metrics of the audit, in the first partition."""
    return f"hf:{{{partition}}}:audit"


def account(partition: int, account_id: str) -> str:
    """An account's hot state."""
    return f"hf:{{{partition}}}:{ACCOUNT}:{account_id}"


def pattern(kind: str) -> str:
    """A pattern for a scan: all keys of a kind, and keys of other kinds whose ids happen to look like it."""
    return f"hf:{{*}}:{kind}:*"


def account_of(key: str) -> tuple[int, str] | None:
    """Partition and id of an account, from its key; None for a key of another kind."""
    _, partition, kind, account_id = key.split(":", 3)
    return (int(partition.strip("{}")), account_id) if kind == ACCOUNT else None


def record(partition: int, entity_id: str, external_id: str) -> str:
    """The idempotency record of a payment."""
    return f"hf:{{{partition}}}:{RECORD}:{_escaped(entity_id)}:{external_id}"


def claim(partition: int, entity_id: str, external_id: str) -> str:
    """The partition that claimed an external id first."""
    return f"hf:{{{partition}}}:{CLAIM}:{_escaped(entity_id)}:{external_id}"


def conclusion(partition: int, stream_id: str) -> str:
    """How the authorization at a position ended."""
    return f"hf:{{{partition}}}:conclusion:{stream_id}"


def rate(partition: int, key_id: str) -> str:
    """What an API key with a rate limit has used of it; the key lies in the partition of its id."""
    return f"hf:{{{partition}}}:rate:{key_id}"


def _escaped(entity_id: str) -> str:
    """An entity id without colons, so that the external id after it cannot be taken for a part of it."""
    return entity_id.replace("%", "%25").replace(":", "%3A")


LUA_FOLDER = Path(__file__).resolve().parents[2] / "lua"
SHARED = "funds"
"""The part that the scripts about funds share. Redis has no modules, so it is put in front of each of them."""


class Script:
    """One script of `lua/`."""

    def __init__(self, verb: str, *parts: str) -> None:
        """`parts` are the files put in front of it; a line with its flags (`#!lua`) stays the first one."""
        self.verb = verb
        own = (LUA_FOLDER / f"{verb}.lua").read_text()
        flags, rest = own.split("\n", 1) if own.startswith("#!") else ("", own)
        shared = "".join((LUA_FOLDER / f"{part}.lua").read_text() for part in parts)
        self.source = f"{flags}\n{shared}{rest}" if flags else shared + rest
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
PUSH = Script("push")
FORGET = Script("forget", SHARED)
INSPECT = Script("inspect", SHARED)
WITNESS = Script("witness")
HEARTBEAT = Script("heartbeat")
RATE_LIMIT = Script("rate_limit")

ALL = (RESERVE, SETTLE, CONCLUDE, HYDRATE, REBUILD, LIMIT, OPEN, PUSH, FORGET, INSPECT, WITNESS, HEARTBEAT, RATE_LIMIT)
