"""The machine and the software of a run: a figure means nothing without them."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.command_line import PROJECT
from bench.system import System

PACKAGES = ("flask", "granian", "redis", "hiredis", "rq", "psycopg", "psycopg-pool", "SQLAlchemy", "msgspec")
FSYNCS = 200


def environment(system: System, scratch: Path) -> dict[str, Any]:
    """Machine, software, and the settings that durability rests on, asked of the running servers."""
    row = system.database.execute("SELECT current_setting('server_version'), current_setting('fsync')").fetchone()
    assert row is not None
    cache = system.cache.info("server")
    return {
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": bool(_git("status", "--porcelain", "--", "app", "lua", "workers", "wsgi.py")),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "file_system": _file_system(scratch),
        "fsync_us_median": fsync_us(scratch),
        "python": platform.python_version(),
        "postgres": row[0].split(" ")[0],
        "postgres_fsync": row[1],
        "cache": f"{cache.get('server_name', 'redis')} {cache.get('valkey_version', cache.get('redis_version'))}",
        "cache_appendfsync": system.cache.config_get("appendfsync")["appendfsync"],
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "wrk": _wrk(),
    }


def afterwards(scratch: Path) -> dict[str, Any]:
    """The same disk and the same machine at the end: a busy neighbour shows here."""
    return {"load_average_after": round(os.getloadavg()[0], 2), "fsync_us_median_after": fsync_us(scratch)}


def fsync_us(directory: Path) -> float:
    """Median microseconds of a 4 kB append and its fsync, where the servers keep their files."""
    path = directory / "fsync-probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    path.unlink()
    return round(statistics.median(times) * 1e6, 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _file_system(directory: Path) -> str:
    def mounts() -> Iterator[tuple[int, str]]:
        for line in Path("/proc/mounts").read_text().splitlines():
            _, place, kind, *_ = line.split(" ")
            if directory.resolve().is_relative_to(place):
                yield len(place), kind

    try:
        return max(mounts())[1]
    except (OSError, ValueError):
        return "unknown"


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _wrk() -> str:
    try:
        result = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    except OSError:
        return "not installed: the project's own generator did it"
    return " ".join(result.stdout.split()[:2])
