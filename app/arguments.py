"""What can be typed after `python3 -m app`: every command with its options.

Everything here needs the standard library only and creates nothing, so that help and a refusal come at once, before any
package is installed and before any file is made.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from app.argument_values import (
    accept_data_dir,
    count,
    data_directory,
    entity_id,
    existing_directory,
    existing_file,
    key_name,
    overlap_hours,
    port,
    request_rate,
    user_name,
    what_verify_would_pass_over,
)
from app.bench_arguments import bench_options
from app.proof_arguments import breaks_options, reconcile_options
from app.report_arguments import reports_options
from app.statement_arguments import statements_options
from app.webhook_arguments import monitors_options, webhooks_options

COMMANDS = {
    "up": "start everything: servers, API and workers (the default)",
    "status": "tell what runs; exit code 0 when it is ready, 1 when it is not, 3 when nothing runs",
    "test": "lint, check types and run the tests; further arguments go to pytest",
    "migrate": "bring the database schema up to date",
    "reconcile": "prove that the cache and the ledger agree; exit code 1 when they do not",
    "breaks": "list differences, work on one, see what a repair would change, and ask for it",
    "verify": "recompute the hash chains of the ledger, or check evidence without any server",
    "heads": "export signed heads, prove that kept ones still hold, replace the key that signs",
    "keys": "create, list, revoke and rotate API keys",
    "users": "invite, list and disable the people who use the pages",
    "replay": "play a file of bank movements through the running system",
    "statements": "import what processors and banks state, and tell whether it adds up",
    "reports": "print the trial balance, balance sheet or income statement; exit code 1 when it is not proved",
    "webhooks": "tell other systems of events: endpoints, their secrets, and what could not be delivered",
    "monitors": "watch the balances of accounts: conditions whose crossings are events",
    "reference": "write docs/API.md and docs/openapi.json from the routes",
    "bench": "measure throughput and latency",
}
"""Each is a module of app/commands with `run(arguments) -> exit code`, except those below."""

SHARE_A_MODULE = {"reconcile": "proofs", "verify": "proofs", "test": "development", "bench": "development"}
"""Commands that are kept together: the module of app/commands, in which the function has the command's name."""

NEED_NO_PACKAGES = {"status"}
DEFAULT_COMMAND = "up"
DEFAULT_DATA_DIR = ".holdfast"


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
    arguments, further = parser.parse_known_args(rest) if name == "test" else (parser.parse_args(rest), [])
    if name == "verify" and (passed_over := what_verify_would_pass_over(arguments)):
        parser.error(passed_over)
    if name == "test":
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


def _verify(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--heads",
        type=existing_file,
        metavar="FILE",
        help="exported heads to check the chains against (default <data-dir>/chain-heads.jsonl)",
    )
    parser.add_argument("--packet", type=existing_file, metavar="FILE", help="check this evidence packet, offline")
    parser.add_argument(
        "--head",
        type=existing_file,
        action="append",
        default=[],
        metavar="FILE",
        help="with --packet: signed heads that you have kept; repeat for several",
    )
    parser.add_argument(
        "--consistency",
        type=existing_file,
        nargs=3,
        metavar=("OLD", "NEW", "PROOF"),
        help="check that two exports of heads are of one history, by the proof of `heads prove`, offline",
    )
    parser.add_argument(
        "--proof", type=existing_file, action="append", default=[], metavar="FILE", help="further consistency proofs"
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY_ID",
        help="the id of a key that you trust, from another source",
    )


def _heads(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    export = actions.add_parser("export", help="sign the heads of all chains now, into a file to be kept elsewhere")
    export.add_argument("file", type=Path, metavar="FILE", help="where to")
    prove = actions.add_parser("prove", help="write the proofs that kept heads are the beginning of newer ones")
    prove.add_argument("file", type=Path, metavar="FILE", help="where to")
    prove.add_argument(
        "--from", dest="kept", type=existing_file, action="append", required=True, metavar="OLD", help="kept heads"
    )
    prove.add_argument("--to", dest="newer", type=existing_file, required=True, metavar="NEW", help="newer heads")
    rotate = actions.add_parser("rotate", help="introduce a new key, endorsed by the present one")
    rotate.add_argument(
        "--to", type=Path, metavar="FILE", help="a file of its own for the new key, which is made if it is missing"
    )
    rotate.add_argument(
        "--unendorsed", action="store_true", help="the present key is lost; only the owner of the ledger may do so"
    )
    actions.add_parser("keys", help="list the public keys of this ledger")
    accept_data_dir(actions)


def _keys(parser: Parser) -> None:
    from app.services.access.api_keys import Scope
    from app.services.access.key_administration import DEFAULT_OVERLAP_H

    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and print it, once")
    create.add_argument("name", type=key_name, help="who or what will use it")
    create.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        help="what it may do; repeat for several (default: read and payments:write)",
    )
    create.add_argument(
        "--entity",
        action="append",
        type=entity_id,
        metavar="ENTITY",
        help="the entity that it may act for, and it sees no other; repeat for several (default: all)",
    )
    create.add_argument("--days", type=count, metavar="N", help="it expires after so many days (default: never)")
    create.add_argument(
        "--rate",
        type=request_rate,
        metavar="N[:BURST]",
        help="requests a second, and how many at once (default: no limit)",
    )
    actions.add_parser("list", help="list all keys, without their secrets")
    revoke = actions.add_parser("revoke", help="end a key; takes effect within a second")
    rotate = actions.add_parser("rotate", help="make the successor of a key, with the same rights, and print it, once")
    rotate.add_argument(
        "--overlap-hours",
        type=overlap_hours,
        default=DEFAULT_OVERLAP_H,
        metavar="N",
        help="how long the key itself stays valid beside it; 0 ends it at once (default %(default)s)",
    )
    for action in (revoke, rotate):
        action.add_argument("key_id", help="the id that `keys list` shows")
    accept_data_dir(actions)


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
    accept_data_dir(actions)


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


_OPTIONS: dict[str, Callable[[Parser], None]] = {
    "up": _up,
    "status": _status,
    "test": _test,
    "reconcile": reconcile_options,
    "breaks": breaks_options,
    "verify": _verify,
    "heads": _heads,
    "keys": _keys,
    "users": _users,
    "replay": _replay,
    "statements": statements_options,
    "webhooks": webhooks_options,
    "monitors": monitors_options,
    "bench": bench_options,
    "reports": reports_options,
}
