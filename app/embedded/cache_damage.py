"""Data that the embedded cache cannot load: what is damaged, and the two ways on.

The server itself says it in lines of its log, and recommends programs that are not installed here, or that would cut a
healthy file of a newer server. Nothing is changed unless `up --damaged-cache` asks for it, and then a copy stays.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app.embedded.child_process import EmbeddedServerError

CUT, ASIDE = "cut", "aside"
WAYS = (CUT, ASIDE)

_BAD_FORMAT = re.compile(r"Bad file format reading the append only file (\S+?):")
_NEWER = re.compile(r"Can't handle RDB format version (\d+)")
_BASE = re.compile(r"Error reading the RDB base file (\S+?),|Internal error in RDB|Short read or OOM loading DB")
_MISSING = re.compile(r"Unable to obtain the AOF file (\S+) length|AOF file (\S+) doesn't exist")
_MANIFEST = re.compile(r"FATAL AOF MANIFEST FILE ERROR|Invalid AOF manifest file format")
_CUT_SHORT = re.compile(r"Unexpected end of file reading the append only file (\S+?)[.:]")


@dataclass(frozen=True)
class Damage:
    """What is wrong with the data, as a clause, and the other way on beside setting the data aside."""

    what: str
    other_way: str
    can_be_cut: Path | None = None


def diagnose(log: str, directory: Path) -> Damage | None:
    """The damage that a server has logged since its start over `directory`; None if it ended for another reason."""
    if found := _NEWER.search(log):
        return Damage(
            f"it was written by a newer server (format {found[1]}), which this one cannot read",
            "start it with the version of Holdfast that wrote it: nothing is lost",
        )
    if found := _BAD_FORMAT.search(log) or _CUT_SHORT.search(log):
        return _damaged_log(found[1], directory)
    if found := _MISSING.search(log):
        return Damage(f"its file {found[1] or found[2]} is missing", _PUT_BACK)
    if _MANIFEST.search(log):
        return Damage("the list of its files (*.manifest) cannot be read", _PUT_BACK)
    if _BASE.search(log):
        return Damage("its base file (*.base.rdb) cannot be read", _PUT_BACK)
    return None


_PUT_BACK = "put a copy of the directory back: what was accepted after the copy and is not posted yet is lost"


def _damaged_log(name: str, directory: Path) -> Damage:
    """Only the last file can be cut: those after it go on from its end."""
    folder = directory / "appendonlydir"
    listed = [line.split()[1] for manifest in folder.glob("*.manifest") for line in manifest.read_text().splitlines()]
    what = f"its file {name} is damaged in the middle"
    if not listed or listed[-1] != name:
        return Damage(what, _PUT_BACK)
    way = f"--damaged-cache {CUT} keeps all up to the damage: what was accepted after it and is not posted yet is lost"
    return Damage(what, way, folder / name)


def explain(damage: Damage, directory: Path) -> str:
    """The whole message, for people."""
    return (
        f"The cache does not start, because its data in {directory} cannot be loaded: {damage.what}. "
        "Nothing was changed. The ledger is not affected: posted payments and balances are in it. Two ways lead on:\n"
        f"  1. {damage.other_way}.\n"
        f"  2. --damaged-cache {ASIDE} starts with an empty cache, which fills from the ledger: every payment that is "
        "not posted yet is lost.\n"
        f"Give the option to `python3 -m app up` together with your --data-dir. It leaves a copy of the data beside it "
        "and does nothing to data that loads. What is known of lost payments becomes a break; see "
        "`python3 -m app reconcile`."
    )


def treat(damage: Damage, way: str, directory: Path, server: Path) -> str:
    """Make the data loadable in one of the WAYS; returns what was done. `server` is the cache's program."""
    copy = _place_for_copy(directory)
    if way == ASIDE:
        directory.rename(copy)
        directory.mkdir(mode=0o700)
        return f"the damaged data of the cache is set aside in {copy}; the cache is empty and fills from the ledger"
    if damage.can_be_cut is None:
        raise EmbeddedServerError(f"This damage cannot be cut off.\n{explain(damage, directory)}")
    shutil.copytree(directory, copy)
    _cut(damage.can_be_cut, server)
    _append_doubt(damage.can_be_cut)
    return f"the data of the cache is cut off at the damage; a copy of all of it is in {copy}"


def set_aside_unlisted(directory: Path) -> str | None:
    """Move a log away whose list of files is gone; returns what was done.

    A server starts empty over such a log, but appends to its old file. The next start would load both, so payments that
    are lost would come back, mixed with what was decided without them.
    """
    folder = directory / "appendonlydir"
    if (folder / "appendonly.aof.manifest").exists() or not folder.is_dir() or not any(folder.iterdir()):
        return None
    copy = _place_for_copy(directory)
    copy.mkdir(mode=0o700)
    folder.rename(copy / folder.name)
    return f"the list of the cache's files is gone, so they are set aside in {copy}; the cache starts empty"


def _place_for_copy(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")


_DOUBT = """
for _, identity in ipairs(redis.call('KEYS', 'hf:{*}:identity')) do
  redis.call('HDEL', identity, 'beat')
end"""
"""Has every partition forget how often the ledger has looked at it, so that the next look finds that something is lost.

Without it, nothing might tell: what is cut off may be newer than the last look.
"""


def _append_doubt(file: Path) -> None:
    """Let the log end with commands that run while it is loaded, before anybody can connect."""
    with file.open("ab") as log:
        for command in (("SELECT", "0"), ("EVAL", _DOUBT, "0")):
            log.write(b"*%d\r\n" % len(command))
            log.writelines(b"$%d\r\n%s\r\n" % (len(part), part.encode()) for part in command)


def _cut(file: Path, server: Path) -> None:
    """The server's program is also its repair tool: it goes by the name that it is called with."""
    command = ["valkey-check-aof", "--fix", str(file)]
    done = subprocess.run(command, executable=server, input="y\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EmbeddedServerError(f"The damaged file {file} could not be cut:\n{done.stdout}{done.stderr}")
