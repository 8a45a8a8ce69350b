"""Data that the cache cannot load: the message says what is damaged, and both ways on do what they say."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from app.cache import keys
from app.embedded.cache_damage import ASIDE, CUT
from app.embedded.child_process import EmbeddedServerError
from app.embedded.valkey import CacheServer

WRITTEN = 200
GARBAGE = b"X" * 16


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data of a cache with a base file and a log of later writes, whose server has ended."""
    (tmp_path / "logs").mkdir()
    with running(CacheServer(tmp_path, "secret")) as client:
        fill(client, "early")
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"] or not list(log_files(tmp_path, "*.2.base.*")):
            pass
        fill(client, "late")
    return tmp_path


class running:
    """A server that runs for a while, and its client."""

    def __init__(self, server: CacheServer) -> None:
        self.server = server

    def __enter__(self) -> redis.Redis:
        try:
            self.server.begin()
            self.server.finish()
        except BaseException:
            self.server.stop()
            raise
        self.client = redis.Redis.from_url(self.server.url, decode_responses=True)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.stop()


def fill(client: redis.Redis, prefix: str) -> None:
    for number in range(WRITTEN):
        client.set(f"{prefix}{number}", "a value of some length")


def log_files(data_dir: Path, pattern: str) -> Iterator[Path]:
    return (data_dir / "cache" / "appendonlydir").glob(pattern)


def damage(data_dir: Path, pattern: str, at: int, content: bytes = GARBAGE) -> None:
    [file] = log_files(data_dir, pattern)
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(content)


def the_log(data_dir: Path) -> None:
    damage(data_dir, "*.incr.aof", 3_000)


def the_base(data_dir: Path) -> None:
    damage(data_dir, "*.base.rdb", 900)


def the_format(data_dir: Path) -> None:
    [file] = log_files(data_dir, "*.base.rdb")
    magic = file.read_bytes()[:9]
    damage(data_dir, "*.base.rdb", 0, magic[:-3] + b"999" if magic.startswith(b"VALKEY") else b"REDIS0999")


def a_missing_base(data_dir: Path) -> None:
    next(log_files(data_dir, "*.base.rdb")).unlink()


def the_manifest(data_dir: Path) -> None:
    next(log_files(data_dir, "*.manifest")).write_text("nonsense\n")


DAMAGES = {
    the_log: ("aof is damaged in the middle", "--damaged-cache cut keeps all up to the damage"),
    the_base: ("base file", "put a copy of the directory back"),
    the_format: ("written by a newer server", "the version of Holdfast that wrote it: nothing is lost"),
    a_missing_base: ("base.rdb is missing", "put a copy of the directory back"),
    the_manifest: ("manifest", "put a copy of the directory back"),
}


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_the_message_says_what_is_damaged_and_the_two_ways_on_and_nothing_is_changed(
    data_dir: Path, harm: Callable[[Path], None]
) -> None:
    harm(data_dir)
    before = {file: file.read_bytes() for file in log_files(data_dir, "*")}
    with pytest.raises(EmbeddedServerError) as raised, running(CacheServer(data_dir, "secret")):
        pass
    message = str(raised.value)
    for part in (*DAMAGES[harm], "--damaged-cache aside", "every payment that is not posted yet is lost"):
        assert part in message
    assert "valkey-check-aof" not in message
    assert {file: file.read_bytes() for file in log_files(data_dir, "*")} == before


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
def test_damaged_data_is_set_aside_if_asked_for_and_the_cache_starts_empty(
    data_dir: Path, harm: Callable[[Path], None]
) -> None:
    harm(data_dir)
    server = CacheServer(data_dir, "secret", damaged_cache=ASIDE)
    with running(server) as client:
        assert client.dbsize() == 0
    [copy] = data_dir.glob("cache.damaged-*")
    assert list(copy.glob("appendonlydir/*.incr.aof"))
    assert str(copy) in (server.treatment or "")


def test_a_damaged_log_is_cut_if_asked_for_and_a_copy_stays(data_dir: Path) -> None:
    the_log(data_dir)
    with running(CacheServer(data_dir, "secret", damaged_cache=CUT)) as client:
        assert client.exists("early0", "late0") == 2
        assert WRITTEN < client.dbsize() < 2 * WRITTEN
    [copy] = data_dir.glob("cache.damaged-*")
    [whole] = copy.glob("appendonlydir/*.incr.aof")
    assert GARBAGE in whole.read_bytes()


def test_a_cache_that_was_cut_is_told_from_the_one_that_the_ledger_remembers(data_dir: Path) -> None:
    name = keys.identity(3)
    with running(CacheServer(data_dir, "secret")) as client:
        client.hset(name, mapping={"identity": "one", "beat": 7})
        fill(client, "last")
    [log] = log_files(data_dir, "*.incr.aof")
    damage(data_dir, "*.incr.aof", log.stat().st_size - 60)
    for server in (CacheServer(data_dir, "secret", damaged_cache=CUT), CacheServer(data_dir, "secret")):
        with running(server) as client:
            assert client.hgetall(name) == {"identity": "one"}
            assert client.exists("last0") == 1


def test_what_cannot_be_cut_is_left_alone(data_dir: Path) -> None:
    the_base(data_dir)
    before = {file: file.read_bytes() for file in log_files(data_dir, "*")}
    server = CacheServer(data_dir, "secret", damaged_cache=CUT)
    with pytest.raises(EmbeddedServerError, match="cannot be cut off"), running(server):
        pass
    assert {file: file.read_bytes() for file in log_files(data_dir, "*")} == before


@pytest.mark.parametrize("way", [CUT, ASIDE])
def test_data_that_loads_is_left_alone(data_dir: Path, way: str) -> None:
    server = CacheServer(data_dir, "secret", damaged_cache=way)
    with running(server) as client:
        assert client.dbsize() == 2 * WRITTEN
    assert (server.treatment, list(data_dir.glob("cache.damaged-*"))) == (None, [])


def test_a_log_without_its_list_is_set_aside_and_never_comes_back(data_dir: Path) -> None:
    next(log_files(data_dir, "*.manifest")).unlink()
    server = CacheServer(data_dir, "secret")
    with running(server) as client:
        assert client.dbsize() == 0
        fill(client, "new")
    [copy] = data_dir.glob("cache.damaged-*")
    assert list(copy.glob("appendonlydir/*.incr.aof"))
    assert str(copy) in (server.treatment or "")
    again = CacheServer(data_dir, "secret")
    with running(again) as client:
        assert client.dbsize() == WRITTEN
        assert client.exists("early0", "late0") == 0
    assert again.treatment is None
