"""Where the processes of one `up` share what they measure: small files in memory, which `/metrics` adds up.

They are not in the data directory itself, because its disk may be full: a process that then writes into a mapped file
is killed. There is a link to them, by which the next start removes what a killed one has left.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - only a directory of our own is made in it


@contextmanager
def metrics_directory(data_dir: Path) -> Iterator[Path]:
    """An empty directory, named by `metrics` in the data directory; it goes away at the end."""
    link = data_dir / "metrics"
    _remove(link)
    in_memory = IN_MEMORY if os.access(IN_MEMORY, os.W_OK | os.X_OK) else None
    link.symlink_to(tempfile.mkdtemp(prefix="holdfast-metrics-", dir=in_memory))
    try:
        yield link
    finally:
        _remove(link)


def _remove(link: Path) -> None:
    if link.is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)
        link.unlink()
