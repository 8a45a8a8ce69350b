"""What can be typed after `python3 -m app`: every command with its options, and their checks.

Everything here needs the standard library only and creates nothing, so that help and a refusal come at once, before any
package is installed and before any file is made.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

COMMANDS = {
    "up": "start everything: servers, API and workers (the default)",
    "status": "tell what runs; exit code 0 when it is ready, 1 when it is not, 3 when nothing runs",
    "test": "lint, check types and run the tests; further arguments go to pytest",
    "migrate": "bring the database schema up to date",
    "reconcile": "prove that the cache and the ledger agree; exit code 1 when they do not",
    "verify": "recompute the hash chains of the ledger",
    "keys": "create, list and revoke API keys",
    "users": "invite, list and disable the people who use the pages",
    "replay": "play a file of bank movements through the running system",
    "reference": "write docs/API.md and docs/openapi.json from the routes",
    "bench": "measure throughput and latency",
}
"""Each is a module of app/commands with `run(arguments) -> exit code`, except those below."""

SHARE_A_MODULE = {"reconcile": "proofs", "verify": "proofs", "test": "development", "bench": "development"}
"""Commands that are kept together: the module of app/commands, in which the function has the command's name."""

NEED_NO_PACKAGES = {"status"}
DEFAULT_COMMAND = "up"
DEFAULT_DATA_DIR = ".holdfast"
LONGEST_KEY_NAME = 200


class Parser(argparse.ArgumentParser):
    """A parser that refuses with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with code 2."""
        print(f"{self.prog}: {message.removeprefix('argument ')}. See {self.prog} --help.", file=sys.stderr)
        sys.exit(2)


def parse(name: str, rest: Sequence[str]) -> argparse.Namespace:
    """The checked arguments of one command; `test` gets what it does not know as `further`.

    Exits with code 0 after help, and with code 2 after naming what is wrong.
    """
    parser = Parser(f"python3 -m app {name}", description=COMMANDS[name], allow_abbrev=False)
    parser.add_argument(
        "--data-dir",
        type=data_directory,
        default=data_directory(DEFAULT_DATA_DIR, is_given=False),
        metavar="DIRECTORY",
        help=f"where data, logs and keys live (default {DEFAULT_DATA_DIR})",
    )
    parser.add_argument(
        "--wheelhouse",
        type=existing_directory,
        metavar="DIRECTORY",
        help="install missing packages from the files in this directory, without a network "
        "(default: HOLDFAST_WHEELHOUSE)",
    )
    if name in _OPTIONS:
        _OPTIONS[name](parser)
    if name != "test":
        return parser.parse_args(rest)
    arguments, further = parser.parse_known_args(rest)
    arguments.further = further
    return arguments


def _up(parser: Parser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address of the API (default %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="port of the API (default %(default)s)")
    parser.add_argument("--workers", type=count, default=2, metavar="N", help="processes that post to the ledger (2)")
    parser.add_argument("--api-workers", type=count, default=2, metavar="N", help="processes of the API (2)")
    parser.add_argument(
        "--log-format",
        choices=("json", "text"),
        help="how the processes log: one JSON object a line, or text for people (default: HOLDFAST_LOG_FORMAT or json)",
    )
    parser.add_argument(
        "--damaged-cache",
        choices=("cut", "aside"),
        help="what to do if the embedded cache cannot load its data: cut it off at the damage, or set it aside; a copy "
        "stays, and data that loads is left alone",
    )


def _status(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print the status as JSON")


def _test(parser: Parser) -> None:
    parser.epilog = "All further arguments go to pytest."


def _reconcile(parser: Parser) -> None:
    parser.add_argument("--full", action="store_true", help="check everything, not only what is new")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--repair",
        type=reason,
        metavar="REASON",
        help="check everything, rebuild from the ledger what is wrong in the cache, and check again; the reason is "
        "kept in the audit trail",
    )
    parser.add_argument(
        "--accept-losses",
        type=reason,
        metavar="REASON",
        help="close the breaks that say what a replaced cache has lost, which no run can: somebody has seen to the "
        "payments that they name; the reason is kept with them",
    )


def _verify(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--heads",
        type=existing_file,
        metavar="FILE",
        help="exported heads to check against (default <data-dir>/chain-heads.jsonl)",
    )


def _keys(parser: Parser) -> None:
    from app.services.access.api_keys import Scope

    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", type=key_name, help="who or what will use it")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it may do; repeat for several (default: read and payments:write)",
    )
    actions.add_parser("list", help="list all keys, without their secrets")
    revoke = actions.add_parser("revoke", help="end a key; takes effect within a second")
    revoke.add_argument("key_id", help="the id that `keys list` shows")
    for action in actions.choices.values():
        # Accepted after the action too, where people type it; the parser above has the default.
        action.add_argument("--data-dir", type=data_directory, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _users(parser: Parser) -> None:
    from app.domain.users import INVITATION_LASTS, Role

    actions = parser.add_subparsers(dest="action", required=True)
    hours = int(INVITATION_LASTS.total_seconds() // 3600)
    invite = actions.add_parser(
        "invite", help=f"make a user, or invite one again, and print a link that works once, for {hours} hours"
    )
    invite.add_argument("name", type=user_name, help="small letters, digits, dots, dashes and underscores")
    invite.add_argument("--role", choices=[role.value for role in Role], required=True, help="what they may do")
    actions.add_parser("list", help="list all users")
    disable = actions.add_parser("disable", help="end a user's sessions and let them in no more")
    disable.add_argument("name", type=user_name, help="the name that `users list` shows")
    for action in actions.choices.values():
        action.add_argument("--data-dir", type=data_directory, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _replay(parser: Parser) -> None:
    from app.domain.bank_file import COLUMNS, REMARKS

    parser.epilog = (
        f"FILE.csv is CSV in UTF-8, separated by commas, with a header. It must have {', '.join(COLUMNS)}; it may have "
        f"{', '.join(REMARKS)}, and no other column. A date is a day (in UTC) or a time of RFC 3339 with its offset, "
        "not in the future; a direction is credit or debit. If one line is wrong, nothing is sent. Exit codes: 0 when "
        "each movement is in the ledger or was refused for insufficient_funds; 1 when one was refused for anything "
        "else, or a break is open; 2 when the file was refused."
    )
    parser.add_argument("file", type=existing_file, metavar="FILE.csv", help="the movements")
    parser.add_argument(
        "--floor",
        choices=("none", "zero"),
        default="zero",
        help="whether the customers' accounts may fall below zero (default %(default)s: they may not)",
    )
    parser.add_argument("--currency", default="CZK", metavar="CODE", help="currency of the file (default %(default)s)")


def _bench(parser: Parser) -> None:
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all but growth; `list` names them")
    parser.add_argument(
        "--duration", type=seconds, default=2.0, metavar="S", help="seconds a round (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=count, default=3, metavar="N", help="rounds a contestant (default %(default)s)"
    )
    parser.add_argument(
        "--connections", type=counts, default=(1, 16, 64, 256), metavar="N,N", help="default 1,16,64,256"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--report", type=Path, metavar="DIRECTORY", help="write tables, plots and a page there")
    parser.add_argument(
        "--sustained", type=seconds, default=20.0, metavar="S", help="seconds of the batch scenario (20)"
    )
    parser.add_argument("--accounts", type=count, default=1_000, metavar="N", help="accounts in the small case (1000)")
    parser.add_argument(
        "--growth-accounts", type=count, default=1_000_000, metavar="N", help="accounts of growth (1000000)"
    )
    parser.add_argument(
        "--growth-entries", type=count, default=10_000_000, metavar="N", help="entries of growth (10000000)"
    )
    parser.add_argument("--tigerbeetle", type=existing_file, metavar="PATH", help="its program, to compare with it too")


_OPTIONS: dict[str, Callable[[Parser], None]] = {
    "up": _up,
    "status": _status,
    "test": _test,
    "reconcile": _reconcile,
    "verify": _verify,
    "keys": _keys,
    "users": _users,
    "replay": _replay,
    "bench": _bench,
}


def port(text: str) -> int:
    """A port that a server can be told to use."""
    number = _whole(text)
    if number is None or not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535, not {text!r}")
    return number


def count(text: str) -> int:
    """At least one."""
    number = _whole(text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def counts(text: str) -> tuple[int, ...]:
    """Several counts."""
    return tuple(count(one) for one in text.split(","))


def seconds(text: str) -> float:
    """A length of time."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return value


def reason(text: str) -> str:
    """Why somebody changes what the system holds."""
    if not text.strip():
        raise argparse.ArgumentTypeError("needs a reason, which is kept in the audit trail; nothing was done")
    return text.strip()


def key_name(text: str) -> str:
    """A name that lists can show in one line."""
    name = text.strip()
    if not name or not name.isprintable() or len(name) > LONGEST_KEY_NAME:
        raise argparse.ArgumentTypeError(f"must be 1 to {LONGEST_KEY_NAME} printable characters, not {text!r}")
    return name


def user_name(text: str) -> str:
    """A name that a user can have."""
    from app.domain.users import is_user_id

    if not is_user_id(text):
        allowed = "1 to 64 small letters, digits, dots, dashes and underscores, and begin with a letter or digit"
        raise argparse.ArgumentTypeError(f"must be {allowed}, not {text!r}")
    return text


def existing_file(text: str) -> Path:
    """A file that can be read."""
    path = Path(text)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise argparse.ArgumentTypeError(f"must be a file that can be read, and {text!r} is none")
    return path


def existing_directory(text: str) -> Path:
    """A directory that can be read."""
    path = Path(text)
    if not path.is_dir() or not os.access(path, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"must be a directory that can be read, and {text!r} is none")
    return path.absolute()


def data_directory(text: str, *, is_given: bool = True) -> Path:
    """A directory that can be written to, or that can be made; the default is checked only where it is used."""
    path = Path(text)
    if is_given:
        if not text:
            raise argparse.ArgumentTypeError("must name a directory")
        nearest = next(one for one in (path.absolute(), *path.absolute().parents) if os.path.lexists(one))
        if not nearest.is_dir():
            raise argparse.ArgumentTypeError(f"cannot be {text}: {nearest} is not a directory")
        if not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
            raise argparse.ArgumentTypeError(f"cannot be {text}: {nearest} cannot be written to")
    return path


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
