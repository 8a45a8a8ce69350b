"""A small disk of its own that can be filled: a file system in a file, over a loop device. Only root can mount it."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

FILLER = "filler"


class Disk:
    """An ext4 file system in a sparse file, mounted at a directory."""

    def __init__(self, image: Path, directory: Path, megabytes: int) -> None:
        self._image = image
        self.directory = directory
        self._megabytes = megabytes
        self._is_mounted = False

    def mount(self) -> None:
        """Make the file system and mount it; the directory must exist. No block is kept back for root."""
        with self._image.open("wb") as file:
            file.truncate(self._megabytes * 2**20)
        run("mkfs.ext4", "-q", "-m", "0", "-F", str(self._image))
        run("mount", "-o", "loop", str(self._image), str(self.directory))
        self._is_mounted = True
        (self.directory / "lost+found").rmdir()
        self.directory.chmod(0o700)

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.directory / FILLER).open("wb", buffering=0) as file:
            free = os.fstatvfs(file.fileno())
            with contextlib.suppress(OSError):  # somebody else may have taken some of it meanwhile
                os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - 2**20))
            file.seek(0, os.SEEK_END)
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))

    def free(self) -> None:
        """Give the space back."""
        (self.directory / FILLER).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take the disk away with all that is on it."""
        if self._is_mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
            self._is_mounted = False
        self._image.unlink(missing_ok=True)


def can_mount(directory: Path) -> bool:
    """Whether this process may mount file systems, tried out."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        return False
    target = directory / "mount-trial"
    target.mkdir()
    trial = Disk(directory / "trial.img", target, 8)
    try:
        trial.mount()
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        trial.unmount()
        target.rmdir()
    return True


def run(*command: str) -> None:
    """Run a program that must succeed."""
    subprocess.run(command, check=True, capture_output=True)
