"""The Lua scripts, loaded from `lua/` once and called by digest."""

from hashlib import sha1
from pathlib import Path
from typing import Any

LUA_FOLDER = Path(__file__).resolve().parents[2] / "lua"


class Script:
    """One script of `lua/`."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.source = (LUA_FOLDER / f"{verb}.lua").read_text()
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def command(self, keys: list[str], args: list[Any]) -> tuple[Any, ...]:
        """The command that calls the script by digest; a server that does not know it yet answers NOSCRIPT."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


RESERVE = Script("reserve")
SETTLE = Script("settle")
CONCLUDE = Script("conclude")
HYDRATE = Script("hydrate")
LIMIT = Script("limit")
OPEN = Script("open")
CLAIM = Script("claim")
INSPECT = Script("inspect")
WITNESS = Script("witness")

ALL = (RESERVE, SETTLE, CONCLUDE, HYDRATE, LIMIT, OPEN, CLAIM, INSPECT, WITNESS)
