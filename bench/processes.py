"""The processor time of the processes under test: the measure that other load on the machine disturbs least."""

from collections import Counter

import psutil

_PARTS = (
    # a piece of the command line, the part of the whole that it stands for; the first that fits
    ("bench.baselines.wsgi", "baseline"),
    ("workers.api:application", "api"),
    ("workers.drain", "drain"),
    ("workers.", "other_workers"),
    ("valkey-server", "cache"),
    ("postgres", "postgres"),
)


def processor_seconds() -> Counter[str]:
    """Seconds since each process began, summed by part, of all that this process and its children have started.

    A process that has ended counts with its parent, also while that has not waited for it yet: an idle connection may
    be given back between two looks, and its backend's time must not be missing from the second.
    """
    seconds: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            part = part_of(_command_line(process))
            times = process.cpu_times()
        except psutil.Error:
            continue
        if part:
            seconds[part] += times.user + times.system + times.children_user + times.children_system
    return seconds


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.ZombieProcess:  # it has times still, but no command line any more
        parent = process.parent()
        return "" if parent is None else " ".join(parent.cmdline())


def part_of(command_line: str) -> str | None:
    """The part that a process belongs to; None for the generator and whatever else is not under test."""
    return next((part for piece, part in _PARTS if piece in command_line), None)


def spent(before: Counter[str], after: Counter[str]) -> dict[str, float]:
    """Seconds between two looks, by part; a part whose processes ended meanwhile is left out."""
    return {part: after[part] - before[part] for part in after if after[part] >= before[part]}
