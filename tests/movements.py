"""Files of bank movements: made up, as CSV, and the real one where it is at hand."""

import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path

from app.command_line import PROJECT

COLUMNS = [
    "transaction_id", "account_id", "date", "direction", "operation", "amount_minor", "purpose",
    "counterparty_bank", "counterparty_account",
]  # fmt: skip
REAL_FILE = PROJECT.parent / "shared" / "data" / "bank_movements_1993.csv"

Row = dict[str, str]


def synthetic(prefix: str, count: int, accounts: int) -> list[Row]:
    """Movements that overdraw now and then."""
    chance = random.Random(prefix)
    rows = []
    for number in range(count):
        credit = chance.random() < 0.55
        rows.append(
            dict(
                zip(
                    COLUMNS,
                    [
                        f"{prefix}-{number}", f"{prefix}-{chance.randrange(accounts)}", f"1993-01-{number % 28 + 1:02}",
                        "credit" if credit else "debit", chance.choice(["cash_deposit", "transfer", ""]),
                        str(chance.randint(1, 900)), chance.choice(["", "rent"]), "", "",
                    ],
                    strict=True,
                )
            )
        )  # fmt: skip
    return rows


def as_csv(rows: Sequence[Row]) -> str:
    """The file with these movements."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def written(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text(as_csv(rows), newline="")
    return path


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
