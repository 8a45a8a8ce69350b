"""Finds the command, makes sure that its packages are installed, and runs it. Standard library only."""

import argparse
import importlib
import shlex
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from app import bootstrap
from app.arguments import COMMANDS, DEFAULT_COMMAND, NEED_NO_PACKAGES, SHARE_A_MODULE, parse

PROJECT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code; arguments are checked before anything is installed or made."""
    if argv and argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    if argv and argv[0] in ("-V", "--version"):
        print(f"Holdfast {version()}")
        return 0
    name, rest = split_command(argv)
    if name not in COMMANDS:
        print(f"There is no command {name!r}.\n\n{usage()}", file=sys.stderr)
        return 2
    arguments = parse(name, rest)
    try:
        if name not in NEED_NO_PACKAGES:
            bootstrap.ensure(
                PROJECT,
                arguments.data_dir,
                argv,
                for_tests=name == "test",
                for_bench=name == "bench",
                wheelhouse=arguments.wheelhouse,
            )
        with recorded_as([name, *rest]):
            return run(name, arguments)
    except bootstrap.BootstrapError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def split_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The command and its arguments; options alone belong to the default command."""
    if not argv or argv[0].startswith("-"):
        return DEFAULT_COMMAND, list(argv)
    return argv[0], list(argv[1:])


def run(name: str, arguments: argparse.Namespace) -> int:
    """Imports the command, which may need installed packages, and runs it; a failure it expects has no traceback."""
    from app.domain.errors import Fault
    from app.embedded.child_process import EmbeddedServerError

    try:
        return function_of(name)(arguments)
    except (EmbeddedServerError, Fault) as error:
        print(error, file=sys.stderr)
        return 1


def function_of(name: str) -> Callable[[argparse.Namespace], int]:
    """The function that runs a command."""
    if name in SHARE_A_MODULE:
        module, function = SHARE_A_MODULE[name], name
    else:
        module, function = name, "run"
    found: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(f"app.commands.{module}"), function)
    return found


@contextmanager
def recorded_as(arguments: Sequence[str]) -> Iterator[None]:
    """What is changed meanwhile is recorded as this command's doing."""
    from app.domain.origin import Origin, acting_for

    command = Origin(token_hex(12), time.time_ns() // 1_000_000, time.monotonic_ns(), path=shlex.join(arguments))
    with acting_for(command):
        yield


def usage() -> str:
    """All commands, a line each."""
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    ending = "Each command explains itself with --help. python3 -m app --version tells the version."
    return "\n".join(["usage: python3 -m app [command] [options]", "", *lines, "", ending])


def version() -> str:
    """The version of this program, as pyproject.toml states it."""
    stated: str = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return stated
