"""The embedded servers: what they keep, who may reach them, and that nothing of them is left behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from app.cache.client import request_client
from app.embedded import postgres
from app.embedded import run_as as identity
from app.embedded.attach import Running, announce, attached, exclusive
from app.embedded.child_process import EmbeddedServerError
from app.embedded.servers import EmbeddedServers
from tests.patience import CACHE_DEADLINE_S, PATIENCE_S, until

PROJECT = Path(__file__).resolve().parents[2]


def write_to_both(servers: EmbeddedServers, word: str) -> None:
    with psycopg.connect(servers.owner_database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [word])
    redis.Redis.from_url(servers.redis_url).rpush("kept", word)


def read_from_both(servers: EmbeddedServers) -> tuple[list[str], list[str]]:
    with psycopg.connect(servers.owner_database_url) as connection:
        rows = [row[0] for row in connection.execute("SELECT word FROM kept ORDER BY word").fetchall()]
    return rows, redis.Redis.from_url(servers.redis_url, decode_responses=True).lrange("kept", 0, -1)


def listening_addresses(pid: int) -> set[str]:
    connections = psutil.Process(pid).net_connections(kind="inet")
    return {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


def family(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def users(processes: list[psutil.Process]) -> set[int]:
    """The ids of the users that the processes run as; Postgres ends its helpers as it likes."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.uids().effective)
    return found


def test_a_restart_keeps_the_data(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        write_to_both(servers, "before")
    with EmbeddedServers(tmp_path) as servers:
        assert read_from_both(servers) == (["before"], ["before"])


def test_a_kill_of_both_servers_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        write_to_both(servers, "before")
        processes = [*family(servers.postgres.pid), *family(servers.cache.pid)]
        os.kill(servers.postgres.pid, signal.SIGKILL)
        os.kill(servers.cache.pid, signal.SIGKILL)
        urls = servers.urls
        revived: list[str] = []

        def both_revived() -> bool:
            revived.extend(servers.revive())
            return len(revived) >= 2

        until(both_revived)
        assert sorted(revived) == ["Postgres", "cache"]
        assert servers.urls == urls, "clients reconnect to where they were"
        assert read_from_both(servers) == (["before"], ["before"])
        assert not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_the_servers_listen_on_the_loopback_address_only(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        assert listening_addresses(servers.cache.pid) == {"127.0.0.1"}
        assert listening_addresses(servers.postgres.pid) == {"127.0.0.1"}


def test_the_cache_is_reached_by_a_socket_that_only_its_owner_may_use(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, postgres=False) as servers:
        assert redis.connection.parse_url(servers.redis_url)["path"] == str(tmp_path / "cache.sock")
        assert oct((tmp_path / "cache.sock").stat().st_mode & 0o777) == "0o700"
        assert redis.Redis.from_url(servers.redis_url).ping()


@pytest.mark.parametrize("name", ["one two", "käse", "50%#?@", "x" * 120])
def test_the_cache_is_reached_whatever_its_directory_is_called(tmp_path: Path, name: str) -> None:
    with EmbeddedServers(tmp_path / name, postgres=False) as servers:
        assert servers.redis_url.startswith("redis://" if len(name) > 100 else "unix://")
        assert redis.Redis.from_url(servers.redis_url).ping()
        assert request_client(servers.redis_url, CACHE_DEADLINE_S).ping()


def test_secrets_are_for_their_owner_only_and_on_no_command_line(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        assert {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("secrets.json", "cache.conf")} == {
            "secrets.json": "0o600",
            "cache.conf": "0o600",
        }
        password = redis.connection.parse_url(servers.redis_url)["password"]
        for process in family(os.getpid()):
            with contextlib.suppress(psutil.NoSuchProcess):  # Postgres' helpers come and go
                assert password not in " ".join(process.cmdline())


def test_a_kill_of_the_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from app.embedded.servers import EmbeddedServers\n"
        "with EmbeddedServers(Path(sys.argv[1])) as servers: print('up', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=PROJECT, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    processes = family(parent.pid)
    assert len(processes) > 5
    parent.kill()
    parent.wait()
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert left == []


def test_a_pid_file_left_by_a_dead_server_does_not_block_a_start(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, cache=False):
        pass
    # The number may belong to somebody else by now, even to ourselves.
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getppid()}\n{tmp_path}\n1\n1\n\n*\n1 1\nready\n")
    with EmbeddedServers(tmp_path, cache=False) as servers, psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_next_start_finishes_an_interrupted_first_start(tmp_path: Path) -> None:
    draft = tmp_path / "postgres.new"
    draft.mkdir()
    (draft / "half").touch()
    with EmbeddedServers(tmp_path, cache=False):
        pass
    (tmp_path / "postgres.complete").unlink()
    with EmbeddedServers(tmp_path, cache=False) as servers, psycopg.connect(servers.database_url):
        assert not draft.exists()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path):
        pass
    (tmp_path / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedServerError, match=r"Postgres ended during its start(.|\n)*pg_control"):
        EmbeddedServers(tmp_path).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its identity")
class TestAsRoot:
    def test_postgres_runs_in_a_user_namespace(self, tmp_path: Path) -> None:
        installation = identity.choose(postgres.programs(), tmp_path)
        if not installation.identity.launch.startswith("namespace"):
            pytest.skip("user namespaces are forbidden here")
        with EmbeddedServers(tmp_path, cache=False) as servers:
            status = Path(f"/proc/{servers.postgres.pid}/status").read_text()
            assert os.readlink(f"/proc/{servers.postgres.pid}/ns/user") != os.readlink("/proc/self/ns/user")
            assert "CapEff:\t0000000000000000" in status

    def test_where_namespaces_are_forbidden_an_unprivileged_user_runs_it(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "closed" / "data"  # pytest's own directories are closed to other users too
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(identity, "works", lambda *_: False)
            with EmbeddedServers(data_dir, cache=False) as servers:
                write_directly(servers)
                found = users(family(servers.postgres.pid))
                assert found
                assert 0 not in found
                assert oct(data_dir.stat().st_mode & 0o777) == "0o700"
            patch.undo()
            with EmbeddedServers(data_dir, cache=False) as servers:
                write_directly(servers)


def write_directly(servers: EmbeddedServers) -> None:
    with psycopg.connect(servers.owner_database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")


class TestAttached:
    def test_a_directory_without_data_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        without_given_servers(monkeypatch)
        with pytest.raises(EmbeddedServerError, match="no data"), attached(tmp_path / "nothing"):
            pass

    def test_given_servers_are_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://one")
        monkeypatch.setenv("REDIS_URL", "redis://two")
        with attached(tmp_path) as urls:
            assert (urls.owner_database_url, urls.database_url, urls.redis_url) == (
                "postgresql://one",
                "postgresql://one",
                "redis://two",
            )

    def test_a_running_system_is_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        without_given_servers(monkeypatch)
        (tmp_path / "postgres").mkdir()
        running = Running(1, "127.0.0.1", 8080, "postgresql://owner", "postgresql://app", "redis://cache")
        with exclusive(tmp_path):
            announce(tmp_path, running)
            with attached(tmp_path) as urls:
                assert urls == running.urls

    def test_without_either_servers_run_for_as_long_as_the_command_takes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        without_given_servers(monkeypatch)
        with EmbeddedServers(tmp_path) as servers:
            write_to_both(servers, "before")
        with attached(tmp_path) as urls:
            assert redis.Redis.from_url(urls.redis_url, decode_responses=True).lrange("kept", 0, -1) == ["before"]
            port = psycopg.conninfo.conninfo_to_dict(urls.database_url)["port"]
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0

    def test_what_a_dead_system_announced_is_not_believed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        without_given_servers(monkeypatch)
        with EmbeddedServers(tmp_path) as servers:
            write_to_both(servers, "before")
        announce(tmp_path, Running(1, "127.0.0.1", 8080, "postgresql://x", "postgresql://x", "redis://x"))
        with attached(tmp_path) as urls:
            assert redis.Redis.from_url(urls.redis_url).ping()


def without_given_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
