"""A cache server of a test's own, whose data can be copied, put back, cut off or deleted, and which can be replaced."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from app.embedded.valkey import CacheServer
from tests.patience import until

PASSWORD = "of-this-test-only"


class OwnCache:
    """One address, and the server behind it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._address = directory / "cache.sock"
        self._home = self._new_home("first")
        self.server = self._started(self._home)

    @property
    def url(self) -> str:
        """The address that clients know; which server answers there can change."""
        return f"unix://:{PASSWORD}@{self._address}"

    def client(self) -> redis.Redis:
        """A raw client of the server that answers now."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    # What happens to servers

    def stop(self) -> None:
        """End the server in order."""
        self.server.stop()

    def kill(self) -> None:
        """End the server at once."""
        assert self.server.pid is not None
        with self.client() as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.server.pid is None)
        self.server.stop()

    def start(self) -> None:
        """Start the server over whatever data there is now."""
        self.server = self._started(self._home)

    def restart(self) -> None:
        """End it in order and start it over its own data."""
        self.stop()
        self.start()

    def copy(self) -> Path:
        """A copy of the data as it is now; every acknowledged write is in it."""
        target = Path(tempfile.mkdtemp(dir=self._directory)) / "copy"
        shutil.copytree(self._home / "cache", target)
        return target

    def put_back(self, copy: Path) -> None:
        """Stop, replace the data by a copy of earlier data, and start."""
        self.stop()
        self.delete_data()
        shutil.copytree(copy, self._home / "cache")
        self.start()

    def delete_data(self) -> None:
        """Delete the data of the server, which must have ended."""
        shutil.rmtree(self._home / "cache")

    def lose_manifest(self) -> None:
        """Delete the list of the data's files, and leave the files."""
        for manifest in (self._home / "cache" / "appendonlydir").glob("*.manifest"):
            manifest.unlink()

    def log_length(self) -> tuple[Path, int]:
        """The file that the server appends to, and its length."""
        [newest] = (self._home / "cache" / "appendonlydir").glob("*.incr.aof")
        return newest, newest.stat().st_size

    def replica(self) -> "Replica":
        """A second server that follows this one."""
        return Replica(self, self._started(self._new_home("second"), address=False))

    def answer_from(self, server: CacheServer) -> None:
        """Have another server answer at the address."""
        self._point(server)
        self.server = server

    def _new_home(self, name: str) -> Path:
        home = self._directory / name
        (home / "logs").mkdir(parents=True)
        return home

    def _started(self, home: Path, *, address: bool = True) -> CacheServer:
        server = CacheServer(home, PASSWORD)
        server.begin()
        server.finish()
        if address:
            self._point(server)
        return server

    def _point(self, server: CacheServer) -> None:
        self._address.unlink(missing_ok=True)
        self._address.symlink_to(server.url.rpartition("@")[2])


class Replica:
    """A server that follows another one until it is cut off."""

    def __init__(self, master: OwnCache, server: CacheServer) -> None:
        self._master = master
        self.server = server
        self._client = redis.Redis.from_url(server.url, decode_responses=True)
        with master.client() as client:
            port = client.config_get("port")["port"]
        self._client.config_set("masterauth", PASSWORD)
        self._client.replicaof("127.0.0.1", int(port))
        until(lambda: self._client.info("replication").get("master_link_status") == "up")

    def catch_up(self) -> None:
        """Wait until it has everything."""
        with self._master.client() as client:
            written = client.info("replication")["master_repl_offset"]
        until(lambda: self._client.info("replication")["slave_repl_offset"] >= written)

    def cut_off(self) -> None:
        """Receive nothing any more, without knowing it."""
        self._client.config_set("masterauth", "of-nobody")
        with self._master.client() as client:
            client.config_set("requirepass", PASSWORD)
            client.client_kill_filter(_type="replica")

    def promote(self) -> None:
        """Become the master, and answer at its address."""
        self._client.replicaof("NO", "ONE")
        self._client.close()
        old = self._master.server
        self._master.answer_from(self.server)
        old.stop()


@contextmanager
def own_cache() -> Iterator[OwnCache]:
    """A server in a directory with a short name: the path of a socket may not be long."""
    directory = Path(tempfile.mkdtemp(prefix="hf-"))
    cache = OwnCache(directory)
    try:
        yield cache
    finally:
        cache.stop()
        shutil.rmtree(directory)
