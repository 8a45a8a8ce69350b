"""The Lua scripts, loaded from `lua/` once and called by digest."""

from hashlib import sha1
from pathlib import Path
from typing import Any

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
