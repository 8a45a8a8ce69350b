"""What people ask of the reconciliation: a run, or the repair of an account in the cache, shown to them before."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from app.domain.refusals import Refusal, RefusalCode
from app.domain.reservations import Funds


class RequestMode(StrEnum):
    """What is asked for."""

    INCREMENTAL = "incremental"
    """A run over what is new, and over what open breaks are about."""
    FULL = "full"
    """A run over everything."""
    REPAIR = "repair"
    """A full run, the rebuilding of one account in the cache, and a run that looks at it again."""


class RequestOutcome(StrEnum):
    """What has come of a request."""

    DONE = "done"
    REFUSED = "refused"
    """Nothing was changed, because the proof before it found what stands against it."""
    FAILED = "failed"
    """A server did not answer; asking again is safe."""


@dataclass(slots=True, frozen=True)
class ProofRequest:
    """A request and what has come of it. `preview` is what the person saw before asking for a repair."""

    request_id: int
    mode: RequestMode
    break_id: int | None
    account_id: str | None
    reason: str
    preview: Mapping[str, Any] | None
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    run_id: int | None
    finished_at: datetime | None
    outcome: RequestOutcome | None
    detail: str

    @property
    def state(self) -> str:
        """`waiting`, `under_way`, or its outcome."""
        if self.outcome is not None:
            return self.outcome.value
        return "waiting" if self.started_at is None else "under_way"


@dataclass(slots=True, frozen=True)
class RepairPreview:
    """An account in the cache as it is, and as a repair would make it; amounts in minor units.

    `now` is None where the cache does not have the account. `then` is None where the ledger does not: the cache would
    forget it. `at_entry` is the entry at which the ledger's balance is taken. Holds are by payment id: those that stay
    or come back, and those that nothing explains and that go. `in_doubt` says that the ledger itself has open breaks,
    so that nothing is repaired.
    """

    account_id: str
    currency_code: str | None
    at_entry: int | None
    now: Funds | None
    then: Funds | None
    holds: Mapping[str, int]
    freed: Mapping[str, int]
    in_doubt: bool

    @property
    def token(self) -> str:
        """What the repair would change, in brief: the same for as long as it would change the same.

        Payments that go on meanwhile move both sides alike, so they leave it as it is.
        """
        parts: list[object] = [self.account_id, self.now is None, self.then is None, sorted(self.freed)]
        if self.now is not None and self.then is not None:
            parts += [self.then.balance_minor - self.now.balance_minor, self.then.held_minor - self.now.held_minor]
            parts += [self.now.floor_minor, self.then.floor_minor]
        return sha256(repr(parts).encode()).hexdigest()[:32]

    def as_record(self) -> dict[str, Any]:
        """As it is kept with the request."""
        return asdict(self)


def preview_outdated(break_id: int) -> Refusal:
    """A repair that would change something else than the person saw."""
    detail = "The account has changed since it was shown. Nothing was done; look at what a repair would change now."
    return Refusal(RefusalCode.PRECONDITION_FAILED, detail, {"break_id": str(break_id)})


def request_not_found(request_id: str) -> Refusal:
    """A request that does not exist."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no request {request_id!r}.", {"request_id": request_id})


def run_not_found(run_id: str) -> Refusal:
    """A run that does not exist."""
    return Refusal(RefusalCode.NOT_FOUND, f"There is no run {run_id!r}.", {"run_id": run_id})
