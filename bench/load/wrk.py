"""Closed-loop saturation by wrk, where it is installed: a C program takes less of a shared core than Python does."""

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.load.histogram import Histogram, rounded_us
from bench.load.requests import BalanceSource, PaymentSource
from bench.load.workload import WORKER_STRIDE, Workload, account_id

SCRIPT = Path(__file__).with_name("wrk.lua")
MARK = "BENCH "


@dataclass
class WrkResult:
    """What wrk saw. `acknowledged` are (worker, number) of payments answered 200 or 201."""

    seconds: float
    answered: int
    histogram: Histogram
    statuses: Counter[int]
    acknowledged: list[tuple[int, int]]
    posted: int
    moments_ms: list[int]
    broken: int
    workers: int


def is_available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def run_wrk(
    address: tuple[str, int], source: PaymentSource | BalanceSource, *, connections: int, seconds: float
) -> WrkResult:
    """Runs wrk with one thread: it is not the bottleneck, and it shares the cores with what is measured."""
    kind = "payment" if isinstance(source, PaymentSource) else "balance"
    run = source.run if isinstance(source, PaymentSource) else ""
    with tempfile.TemporaryDirectory(prefix="bench-wrk-") as folder:
        movements, headers, log = Path(folder, "movements"), Path(folder, "headers"), Path(folder, "log")
        movements.write_text(_table(source.workload))
        headers.write_text("".join(f"{name}: {value}\n" for name, value in source.headers.items()))
        # wrk takes whole seconds only.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        command += ["-s", str(SCRIPT), f"http://{address[0]}:{address[1]}", "--"]
        command += [str(movements), run, str(log), source.path, str(headers), kind, str(WORKER_STRIDE)]
        output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        line = next((one for one in output.stdout.splitlines() if one.startswith(MARK)), None)
        if line is None:
            raise RuntimeError(f"wrk failed: {output.stdout[-500:]} {output.stderr[-500:]}")
        return _result(json.loads(line.removeprefix(MARK)), [Path(f"{log}.0")])


def _table(workload: Workload) -> str:
    return "".join(
        f"{account_id(one.source)} {account_id(one.destination)} {one.amount_minor}\n" for one in workload.movements
    )


def _result(summary: dict, logs: list[Path]) -> WrkResult:
    statuses: Counter[int] = Counter()
    acknowledged, moments, posted = [], [], 0
    for worker, log in enumerate(logs):
        for line in log.read_text().splitlines():
            number, status, moment, flag = line.split(" ")
            statuses[int(status)] += 1
            if status in ("200", "201"):
                moments.append(int(moment))
                posted += flag == "P"
                if number != "-":
                    acknowledged.append((worker, int(number)))
    histogram = Histogram()
    for value, times in summary["latency"]:
        histogram.counts[rounded_us(value)] += times
    return WrkResult(
        seconds=summary["microseconds"] / 1e6,
        answered=summary["requests"],
        histogram=histogram,
        statuses=statuses,
        acknowledged=acknowledged,
        posted=posted,
        moments_ms=moments,
        broken=sum(summary[name] for name in ("connect", "read", "write", "timeout")),
        workers=len(logs),
    )
