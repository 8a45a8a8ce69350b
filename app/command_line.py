"""Finds the command, makes sure that its packages are installed, and runs it. Standard library only."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from app import bootstrap

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_COMMAND = "up"
DEFAULT_DATA_DIR = ".holdfast"

# Each is a module of app/commands with `add_arguments(parser)` and `run(arguments) -> exit code`.
COMMANDS = {
    "up": "start everything: servers, API and workers (the default)",
    "test": "lint, check types and run the tests; further arguments go to pytest",
    "migrate": "bring the database schema up to date",
    "reconcile": "prove that the cache and the ledger agree; exit code 1 when they do not",
    "verify": "recompute the hash chains of the ledger",
    "keys": "create, list and revoke API keys",
    "replay": "play a file of bank movements through the running system",
    "reference": "write docs/API.md and docs/openapi.json from the routes",
    "bench": "measure throughput and latency",
}


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    if argv and argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, rest = split_command(argv)
    if name not in COMMANDS:
        print(f"There is no command {name!r}.\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        bootstrap.ensure(PROJECT, data_dir_of(rest), argv, for_tests=name == "test", for_bench=name == "bench")
        return run(name, rest)
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


def data_dir_of(arguments: Sequence[str]) -> Path:
    """The data directory among arguments that cannot be parsed in full yet."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path(DEFAULT_DATA_DIR))
    found, _ = parser.parse_known_args([one for one in arguments if one not in ("-h", "--help")])
    return Path(found.data_dir)


def run(name: str, rest: Sequence[str]) -> int:
    """Parses the arguments and runs the command; an expected failure is printed without a traceback."""
    from app.domain.errors import Fault
    from app.embedded.child_process import EmbeddedServerError

    command = load(name)
    arguments = parse(name, command, rest)
    try:
        return int(command.run(arguments))
    except (EmbeddedServerError, Fault) as error:
        print(error, file=sys.stderr)
        return 1


def load(name: str) -> ModuleType:
    """Imports the command's module; only now, because it may need installed packages."""
    module = f"app.commands.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise SystemExit(f"The command {name} is not part of this version.") from None


def parse(name: str, command: ModuleType, rest: Sequence[str]) -> argparse.Namespace:
    """Parses what the command declares; a command with PASSES_ARGUMENTS_ON gets the others as `further`."""
    description = COMMANDS[name]
    parser = argparse.ArgumentParser(f"python3 -m app {name}", description=description, allow_abbrev=False)
    default = Path(DEFAULT_DATA_DIR)
    text = "where data, logs and keys live (default %(default)s)"
    parser.add_argument("--data-dir", type=Path, default=default, metavar="DIRECTORY", help=text)
    command.add_arguments(parser)
    if not getattr(command, "PASSES_ARGUMENTS_ON", False):
        return parser.parse_args(rest)
    arguments, further = parser.parse_known_args(rest)
    arguments.further = further
    return arguments


def usage() -> str:
    """All commands, a line each."""
    lines = [f"  {name:<10} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(["usage: python3 -m app [command] [options]", "", *lines])
