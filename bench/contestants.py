"""Contestants: what a scenario runs in turn. Each can take load, come to rest, and have its ledger audited."""

from collections.abc import Sequence
from typing import Protocol

from bench.drive import Outcome
from bench.load.requests import AuthorizationSource, BalanceSource, PaymentSource
from bench.load.workload import Workload
from bench.rivals import IN_POSTGRES, TITLES, RivalLedger, RivalServer, pause_for_settling
from bench.system import BacklogRemains, System


class Contestant(Protocol):
    """One system under load."""

    @property
    def title(self) -> str: ...
    @property
    def address(self) -> tuple[str, int]: ...
    def prepare(self, workload: Workload) -> None:
        """Before a run."""

    def payments(self, run: str, workload: Workload, **headers: str) -> PaymentSource:
        """The requests of a run."""

    def authorizations(self, run: str, workload: Workload) -> AuthorizationSource:
        """The same as authorizations, each captured at once."""

    def reads(self, workload: Workload) -> BalanceSource:
        """Reads of balances."""

    def finish(self, run: str, workload: Workload, outcome: Outcome, seconds: float) -> None:
        """After a run: come to rest, then audit; what is wrong is added to the round's problems."""


class Holdfast:
    """The product."""

    title = "Holdfast"

    def __init__(self, system: System) -> None:
        self.system = system
        self.address = system.address

    def prepare(self, workload: Workload) -> None:
        """Its accounts exist already, and its ledger continues from run to run."""

    def payments(self, run: str, workload: Workload, **headers: str) -> PaymentSource:
        """Single payments."""
        return PaymentSource("/v1/payments", {**self.system.headers, **headers}, run, workload)

    def authorizations(self, run: str, workload: Workload) -> AuthorizationSource:
        """Authorizations, each captured at once."""
        return AuthorizationSource("/v1/payments", self.system.headers, run, workload)

    def reads(self, workload: Workload) -> BalanceSource:
        """Reads of balances."""
        return BalanceSource("/v1/accounts/{account_id}/balance", self.system.headers, workload)

    def finish(self, run: str, workload: Workload, outcome: Outcome, seconds: float) -> None:
        """Waits for the ledger, and says how long it took to catch up."""
        if self._rest(outcome, seconds, len(outcome.acknowledged)):
            outcome.round.problems += self.system.auditor.audit(run, workload, outcome.acknowledged)
            self._reconcile(outcome)

    def finish_ids(
        self, run: str, workload: Workload, outcome: Outcome, acknowledged: Sequence[str], seconds: float
    ) -> None:
        """The same for batches, whose ids are known in full."""
        if self._rest(outcome, seconds, len(acknowledged)):
            outcome.round.problems += self.system.auditor.audit_ids(run, workload, set(acknowledged))
            self._reconcile(outcome)

    def _rest(self, outcome: Outcome, seconds: float, payments: int) -> bool:
        try:
            catch_up_s = self.system.quiesce()
            pause_for_settling()  # a generator leaves its last requests behind
            self.system.quiesce()
        except BacklogRemains as error:
            outcome.round.problems.append(str(error))
            return False
        outcome.round.extra["catch_up_s"] = catch_up_s
        outcome.round.extra["posted_rate"] = payments / (seconds + catch_up_s)
        return True

    def _reconcile(self, outcome: Outcome) -> None:
        report = self.system.reconcile()
        found = [f"{one.kind.value} on {one.subject}" for one in report.breaks[:3]]
        if report.open_breaks or report.breaks:
            outcome.round.problems.append(
                f"reconciliation: {report.open_breaks} open breaks {', '.join(found)}".strip()
            )


class Rival:
    """A baseline."""

    def __init__(self, server: RivalServer, name: str) -> None:
        self.name = name
        self.title = TITLES[name]
        self.address = server.address
        self.ledger = RivalLedger(server, name) if name in IN_POSTGRES else None

    def prepare(self, workload: Workload) -> None:
        """Starts from empty tables."""
        if self.ledger is not None:
            self.ledger.reset(workload.accounts)

    def payments(self, run: str, workload: Workload, **headers: str) -> PaymentSource:
        """Single payments."""
        return PaymentSource(f"/{self.name}/payments", {"Content-Type": "application/json", **headers}, run, workload)

    def authorizations(self, run: str, workload: Workload) -> AuthorizationSource:
        """Authorizations, each captured at once; of the row lock only."""
        return AuthorizationSource(f"/{self.name}/holds", {"Content-Type": "application/json"}, run, workload)

    def reads(self, workload: Workload) -> BalanceSource:
        """Reads of balances."""
        return BalanceSource(f"/{self.name}/accounts/{{account_id}}/balance", {}, workload)

    def finish(self, run: str, workload: Workload, outcome: Outcome, seconds: float) -> None:  # noqa: ARG002
        """Its answers mean posted, so there is nothing to wait for."""
        if self.ledger is not None:
            self.ledger.come_to_rest()
            outcome.round.problems += self.ledger.auditor.audit(run, workload, outcome.acknowledged)
        elif self.name == "tigerbeetle":
            outcome.round.notes.append("its ledger is not audited here")
