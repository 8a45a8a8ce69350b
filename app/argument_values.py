"""The values of command line arguments: each function reads one kind, and says what is wrong with any other text.

Beside them, what commands with several actions share. Only the standard library is needed, and nothing is created.
"""

import argparse
import os
from datetime import date
from pathlib import Path
from typing import Any

LONGEST_KEY_NAME = 200

MOST = 2**63 - 1
"""The largest number of an id in the ledger."""


def port(text: str) -> int:
    """A port that a server can be told to use."""
    number = _whole(text)
    if number is None or not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 65535, not {text!r}")
    return number


def count(text: str) -> int:
    """At least one, and no more than the ledger can count."""
    number = _whole(text)
    if number is None or not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return number


def amount_minor(text: str) -> int:
    """An amount of money, of either sign."""
    from app.domain.money import MAX_MINOR

    value = _whole(text)
    if value is None or abs(value) > MAX_MINOR:
        raise argparse.ArgumentTypeError(f"must be a whole number of minor units up to {MAX_MINOR}, not {text!r}")
    return value


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


def entity_id(text: str) -> str:
    """The id of an entity."""
    from app.domain.payment_checks import refuse_id

    if refuse_id("entity", text):
        raise argparse.ArgumentTypeError(f"must be the id of an entity, not {text!r}")
    return text


def request_rate(text: str) -> tuple[int, int]:
    """Requests a second and at once; where the burst is not given, it is a second's requests."""
    from app.domain.rate_limits import LARGEST_BURST, MOST_PER_SECOND

    per_second, _, burst = text.partition(":")
    values = _whole(per_second) or 0, _whole(burst or per_second) or 0
    if not (1 <= values[0] <= MOST_PER_SECOND and 1 <= values[1] <= LARGEST_BURST):
        bounds = f"N or N:BURST, with N up to {MOST_PER_SECOND} and BURST up to {LARGEST_BURST}"
        raise argparse.ArgumentTypeError(f"must be {bounds}, not {text!r}")
    return values


def overlap_hours(text: str) -> int:
    """Hours for which a rotated key stays valid."""
    from app.services.access.key_administration import LONGEST_OVERLAP_H

    value = _whole(text)
    if value is None or not 0 <= value <= LONGEST_OVERLAP_H:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {LONGEST_OVERLAP_H}, not {text!r}")
    return value


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


def what_verify_would_pass_over(arguments: argparse.Namespace) -> str:
    """What is given that `verify` would not look at, so that its answer would seem to say more; empty if nothing is."""
    if arguments.head and arguments.packet is None:
        return "--head: goes with --packet; --heads compares kept heads with the ledger"
    if (arguments.proof or arguments.key) and arguments.packet is None and arguments.consistency is None:
        return "--proof and --key: go with --packet or --consistency"
    if sum(one is not None for one in (arguments.packet, arguments.consistency, arguments.heads)) > 1:
        return "--packet, --consistency and --heads: are checked one at a time"
    return ""


def day(text: str) -> date:
    """A day of the calendar."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a day such as 2026-01-31, not {text!r}") from None


def currency_code(text: str) -> str:
    """The code of a currency, in capitals."""
    return text.strip().upper()


def accept_data_dir(actions: "argparse._SubParsersAction[Any]") -> None:
    """Accept --data-dir after the action too, where people type it; the parser above has the default."""
    for action in actions.choices.values():
        action.add_argument("--data-dir", type=data_directory, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
