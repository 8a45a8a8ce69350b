"""`python3 -m app up` as a whole: it answers, it says what is wrong, and it leaves nothing behind."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.command_line import PROJECT
from app.embedded.attach import announced
from app.embedded.child_process import free_port
from tests.patience import PATIENCE_S, until


class System:
    """One `up` over a data directory."""

    def __init__(self, data_dir: Path, port: int | None = None, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        inherited = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "up", "--port", str(self.port), "--data-dir", str(data_dir)],
            cwd=PROJECT,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_ready(self) -> "System":
        until(lambda: self.status() == 200 and announced(self.data_dir) is not None)
        return self

    def status(self) -> int | None:
        """The answer of /readyz, or None."""
        assert self.process.poll() is None, self.output()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        return None

    def family(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def named(self, part: str) -> list[psutil.Process]:
        """The direct children whose command line contains `part`."""
        return [child for child in psutil.Process(self.process.pid).children() if part in command_line(child)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.output()

    def output(self) -> str:
        return self.process.communicate(timeout=PATIENCE_S)[0]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One that runs: what is killed in one test has come back before the next begins."""
    running = System(tmp_path_factory.mktemp("up") / "data")
    try:
        yield running.wait_ready()
    finally:
        running.stop()


def command_line(process: psutil.Process) -> str:
    """What it was started as; nothing when it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_system_starts_stops_and_starts_again(tmp_path: Path) -> None:
    first = System(tmp_path).wait_ready()
    processes = first.family()
    output = first.stop(signal.SIGINT)
    assert first.process.returncode == 0
    assert f"http://127.0.0.1:{first.port}" in output
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert left == []
    assert announced(tmp_path) is None
    second = System(tmp_path, first.port)
    second.wait_ready()
    second.stop()


def test_a_second_start_on_the_same_directory_names_the_first(system: System) -> None:
    second = System(system.data_dir)
    assert f"as process {system.process.pid}" in second.output()
    assert second.process.returncode == 1
    until(lambda: system.status() == 200)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = System(tmp_path, port)
        assert f"Port {port}" in refused.output()
    assert refused.process.returncode == 1
    assert not (tmp_path / "postgres").exists(), "nothing slow was begun"


@pytest.mark.parametrize(
    ("variable", "url"),
    [("DATABASE_URL", "postgresql://x@127.0.0.1:{port}/x"), ("REDIS_URL", "redis://127.0.0.1:{port}")],
)
def test_a_given_server_out_of_reach_is_named(tmp_path: Path, variable: str, url: str) -> None:
    refused = System(tmp_path, **{variable: url.format(port=free_port())})
    assert f"at {variable} does not answer" in refused.output()
    assert refused.process.returncode == 1


def test_a_kill_leaves_no_process_and_the_next_start_succeeds(tmp_path: Path) -> None:
    killed = System(tmp_path).wait_ready()
    processes = killed.family()
    killed.stop(signal.SIGKILL)
    _, left = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert left == []
    System(tmp_path, killed.port).wait_ready().stop()


def test_a_start_right_after_a_kill_waits_for_the_remains(tmp_path: Path) -> None:
    killed = System(tmp_path).wait_ready()
    killed.process.kill()
    again = System(tmp_path, killed.port)
    until(lambda: again.named("/postgres -D") != [])  # before it has its own, the remains may answer
    again.wait_ready().stop()
    assert again.process.returncode == 0
    killed.output()


def test_a_killed_api_is_replaced_and_its_workers_do_not_linger(system: System) -> None:
    (granian,) = system.named("granian")
    workers = granian.children(recursive=True)
    assert workers
    granian.kill()
    _, left = psutil.wait_procs([granian, *workers], timeout=PATIENCE_S)
    assert left == []
    until(lambda: system.status() == 200)


@pytest.mark.parametrize("part", ["workers.drain", "workers.maintain", "workers.schedule", "valkey-server"])
def test_whatever_is_killed_comes_back(system: System, part: str) -> None:
    before = system.named(part)
    assert before
    before[0].kill()
    until(lambda: len(system.named(part)) == len(before) and system.named(part) != before)
    until(lambda: system.status() == 200)


def test_a_killed_database_comes_back(system: System) -> None:
    (postmaster,) = system.named("/postgres -D")
    postmaster.kill()
    until(lambda: system.named("/postgres -D") not in ([], [postmaster]))
    until(lambda: system.status() == 200)
    assert postmaster not in system.named("/postgres -D")


def test_the_owners_password_is_in_no_process_that_does_not_migrate(system: System) -> None:
    owner_password = json.loads((system.data_dir / "secrets.json").read_text())["owner_password"]
    looked_at = 0
    for process in system.family()[1:]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):  # Postgres' helpers come and go
            environment = process.environ()
            assert "HOLDFAST_OWNER_DATABASE_URL" not in environment, process
            assert owner_password not in " ".join(environment.values()), process
            looked_at += 1
    assert looked_at >= 8


def test_a_server_that_cannot_start_again_is_tried_until_it_can(tmp_path: Path) -> None:
    system = System(tmp_path).wait_ready()
    configuration = tmp_path / "cache.conf"
    configuration.unlink()
    configuration.mkdir()  # nobody can write the file now
    (cache,) = system.named("valkey-server")
    cache.kill()
    until(lambda: system.status() == 503)
    answers = [system.status() for _ in range(40) if not time.sleep(0.02)]
    assert set(answers) == {503}, "the API goes on, and says that it cannot take payments"
    configuration.rmdir()
    until(lambda: system.status() == 200)
    output = system.stop()
    assert system.process.returncode == 0
    lines = [line for line in output.splitlines() if "cache could not be started again" in line]
    assert len(lines) >= 2
    assert all("directory" in line for line in lines), "each says why"
    assert "Traceback" not in output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for one database."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=700", "tmpfs", tmp_path], check=False)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_full_disk_is_outlived(small_disk: Path) -> None:
    system = System(small_disk / "data").wait_ready()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"0" * 2**16) == 2**16:
            pass
    for part in ("valkey-server", "/postgres -D", "workers.schedule"):
        for process in system.named(part):
            process.kill()
    until(lambda: system.status() == 503)
    answers = [system.status() for _ in range(40) if not time.sleep(0.02)]
    assert 200 not in answers
    filler.unlink()
    until(lambda: system.status() == 200)
    output = system.stop()
    assert system.process.returncode == 0
    assert "Traceback" not in output
