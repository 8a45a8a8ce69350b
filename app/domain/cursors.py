"""The cursor of a walk through a report, which pins all its pages to the moment of the first."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from json import dumps, loads


@dataclass(slots=True, frozen=True)
class LedgerMoment:
    """The ledger as one snapshot saw it: how far each hash chain had come, by partition, and the newest account's row.

    It is exact where a time is not: a transaction may commit after a later one has been read.
    """

    chain_seqs: tuple[int, ...]
    last_account: int


@dataclass(slots=True, frozen=True)
class ReportCursor:
    """Where a walk goes on: after which account, in the ledger of which moment."""

    after_account_id: str
    moment: LedgerMoment

    @property
    def text(self) -> str:
        """The text that a client sends back."""
        values = [self.after_account_id, self.moment.last_account, *self.moment.chain_seqs]
        return urlsafe_b64encode(dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


_LARGEST = 2**63 - 1


def parse_cursor(text: str) -> ReportCursor:
    """The cursor in a text; ValueError if there is none."""
    values = loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
    if not isinstance(values, list) or len(values) < 3:
        raise ValueError("not a cursor")
    account_id, last_account, *chain_seqs = values
    if not isinstance(account_id, str) or not all(_is_count(one) for one in (last_account, *chain_seqs)):
        raise ValueError("not a cursor")
    return ReportCursor(account_id, LedgerMoment(tuple(chain_seqs), last_account))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST
