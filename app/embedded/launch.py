"""Starts one program that dies with its parent, under the identity asked for. A script, not a module.

    python -I -S launch.py PARENT_PID SIGNAL IDENTITY PROGRAM [ARGUMENT ...]

IDENTITY is `same`, `namespace:UID` (a user namespace in which we appear as UID) or `user:UID:GID`.
PROGRAM may be `--check`: then nothing is run, and exit code 0 says that this identity can write to the
directory given as its argument. Exit code 97 means that the identity is not to be had here.

It is a program of its own because the steps must happen between fork and exec, where a parent with threads
may not run Python. Their order matters: the kernel forgets the death signal when credentials change.
"""

import ctypes
import os
import signal
import sys

IDENTITY_REFUSED = 97

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def enter_namespace(uid_inside: int) -> None:
    """Maps our own user and group, and nothing else, to `uid_inside`: the files we own stay ours."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid_inside} {uid} 1")
    write("/proc/self/gid_map", f"{uid_inside} {gid} 1")


def become(uid: int, gid: int) -> None:
    """Drops to another user for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def assume(identity: str) -> None:
    """Takes the identity described."""
    kind, *numbers = identity.split(":")
    if kind == "namespace":
        enter_namespace(int(numbers[0]))
    elif kind == "user":
        become(int(numbers[0]), int(numbers[1]))


def die_with(parent: int, death_signal: int) -> None:
    """Asks for `death_signal` at the parent's end; the second check closes the gap before the request."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def write(path: str, text: str) -> None:
    """Writes in one call, as the kernel's map files demand."""
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


def main(arguments: list[str]) -> None:
    """Becomes the program."""
    parent, death_signal, identity, *command = arguments
    try:
        assume(identity)
    except OSError as error:
        print(f"cannot take the identity {identity}: {error}", file=sys.stderr)
        sys.exit(IDENTITY_REFUSED)
    die_with(int(parent), int(death_signal))
    if command[0] == "--check":
        sys.exit(0 if os.access(command[1], os.R_OK | os.W_OK | os.X_OK) else 1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606 - a fixed program, and no shell is wanted
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr)
        sys.exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
