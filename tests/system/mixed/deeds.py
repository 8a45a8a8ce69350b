"""What customers wanted, and what they were told of it: the journal that the auditor compares the ledger with."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Legs = tuple[tuple[str, int], ...]
"""The sides of a movement: account and signed amount in minor units, debit positive."""

PAYMENT, AUTHORIZATION, REFUND, JOURNAL, REVERSAL = "payment", "authorization", "refund", "journal", "reversal"
RESERVED_IN_CACHE = {PAYMENT, AUTHORIZATION}
"""What is acknowledged before it is in the ledger."""


@dataclass(slots=True)
class Told:
    """One acknowledgement: when (seconds since 1970), under which id, and with which status."""

    at: float
    payment_id: str
    status: str


@dataclass(slots=True)
class Conclusion:
    """How a customer wanted an authorization to end, and what they were told."""

    wish: str
    amount_minor: int
    legs: Legs
    told: list[Told] = field(default_factory=list)
    refused: str = ""
    unknown: int = 0


@dataclass(slots=True)
class Deed:
    """One thing that a customer wanted to be done exactly once, under one external id."""

    kind: str
    path: str
    body: dict[str, Any]
    legs: Legs
    told: list[Told] = field(default_factory=list)
    refused: str = ""
    refused_later: list[str] = field(default_factory=list)
    """Refusals of repeats, after it had been acknowledged."""
    unknown: int = 0
    """Attempts that got no definite answer."""
    conclusion: Conclusion | None = None

    @property
    def external_id(self) -> str:
        """The idempotency key."""
        return str(self.body["external_id"])

    @property
    def amount_minor(self) -> int:
        """What moves."""
        return self.legs[0][1]

    @property
    def ids(self) -> set[str]:
        """The payment ids under which it was acknowledged."""
        return {one.payment_id for one in self.told}

    @property
    def was_told_posted(self) -> bool:
        """Whether somebody said that it is in the ledger."""
        return any(one.status == "posted" for one in self.told)


@dataclass(slots=True)
class AccountWish:
    """The last change of an account that was acknowledged; `is_certain` is false if the last one got no answer."""

    fields: dict[str, Any] = field(default_factory=dict)
    is_certain: bool = True


def of_payment(body: dict[str, Any]) -> Legs:
    """The legs of a payment; a split in these tests has fixed amounts and a remainder."""
    source, amount = body["source_account_id"], body["amount_minor"]
    if "destinations" not in body:
        return (source, amount), (body["destination_account_id"], -amount)
    fixed = sum(one.get("amount_minor", 0) for one in body["destinations"])
    parts = [(one["account_id"], -one.get("amount_minor", amount - fixed)) for one in body["destinations"]]
    return (source, amount), *parts


def write_down(deeds: Iterable[Deed], path: Path) -> None:
    """Keep the journal beside the logs, for whoever looks into a failure."""
    with path.open("w") as file:
        for line in lines(deeds):
            file.write(line + "\n")


def lines(deeds: Iterable[Deed]) -> Iterator[str]:
    """A line of JSON for each."""
    for deed in deeds:
        yield json.dumps(asdict(deed), separators=(",", ":"))
