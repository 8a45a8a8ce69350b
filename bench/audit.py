"""The auditor: recomputes, from the payments that were sent, what every balance must be, and asks all sides for it.

It shares no code with what it audits: plain SQL, plain arithmetic, and the answers of the API.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from bench.load.requests import parsed_external_id
from bench.load.workload import Workload, account_id

SHOWN = 3
"""How many culprits a problem names."""


@dataclass
class LedgerReads:
    """How the auditor reads a contestant's ledger: by plain SQL."""

    posted: Callable[[str], list[str]]
    """The external ids of a run's posted payments, with repetitions."""
    balances: Callable[[], dict[str, int]]
    """Account id to balance, in minor units, on the side where money is a plus."""
    entry_sums: Callable[[], dict[str, int]]
    """The same, summed over the entries."""
    answered: Callable[[Collection[str]], dict[str, tuple[int, int]]] | None = None
    """Account id to balance and held amount, as clients see them."""


@dataclass
class Auditor:
    """Computes what every balance must be, from the opening balances on."""

    ledger: LedgerReads
    expected: dict[str, int] = field(default_factory=dict)

    def open(self) -> None:
        """Takes the present balances as given."""
        self.expected = self.ledger.balances()

    def audit(self, run: str, workload: Workload, acknowledged: Collection[tuple[int, int]]) -> list[str]:
        """What is wrong after a run of single payments; nothing when all is right."""
        posted = self.ledger.posted(run)
        known = {parsed_external_id(text) for text in posted}
        lost = [key for key in acknowledged if key not in known]
        problems = []
        if lost:
            problems.append(f"{len(lost)} acknowledged payments are not in the ledger: {_some(lost)}")
        return problems + self._audit(posted, [workload.movement(*parsed_external_id(text)) for text in posted])

    def audit_ids(self, run: str, workload: Workload, acknowledged: Collection[str]) -> list[str]:
        """The same, for payments whose ids the clients list in full."""
        posted = self.ledger.posted(run)
        lost = set(acknowledged) - set(posted)
        problems = [f"{len(lost)} acknowledged payments are not in the ledger: {_some(lost)}"] if lost else []
        return problems + self._audit(posted, [workload.movement(*parsed_external_id(text)) for text in posted])

    def _audit(self, posted: list[str], movements: Iterable) -> list[str]:
        problems = []
        repeated = [text for text, count in Counter(posted).items() if count > 1]
        if repeated:
            problems.append(f"{len(repeated)} payments were posted more than once: {_some(repeated)}")
        touched = set()
        for movement in movements:
            source, destination = account_id(movement.source), account_id(movement.destination)
            self.expected[source] = self.expected.get(source, 0) - movement.amount_minor
            self.expected[destination] = self.expected.get(destination, 0) + movement.amount_minor
            touched |= {source, destination}
        balances, sums = self.ledger.balances(), self.ledger.entry_sums()
        problems += self._balance_problems(balances, sums)
        if self.ledger.answered is not None:
            problems += self._answer_problems(self.ledger.answered(touched))
        return problems

    def _balance_problems(self, balances: dict[str, int], sums: dict[str, int]) -> list[str]:
        problems = []
        off = {one: balances.get(one, 0) - due for one, due in self.expected.items() if balances.get(one, 0) != due}
        if off:
            total = sum(abs(difference) for difference in off.values())
            drift = sum(off.values())
            problems.append(
                f"{len(off)} balances are not what the posted payments make them: "
                f"{total} minor units off in sum, {drift:+d} created or lost: {_some(off)}"
            )
        unequal = [one for one in balances if balances[one] != sums.get(one, 0)]
        if unequal:
            problems.append(f"{len(unequal)} balances differ from the sum of their entries: {_some(unequal)}")
        overdrawn = [one for one, balance in balances.items() if balance < 0]
        if overdrawn:
            problems.append(f"{len(overdrawn)} accounts are overdrawn: {_some(overdrawn)}")
        return problems

    def _answer_problems(self, answered: dict[str, tuple[int, int]]) -> list[str]:
        wrong = [one for one, (balance, _) in answered.items() if balance != self.expected[one]]
        problems = [f"{len(wrong)} cached balances differ from the ledger: {_some(wrong)}"] if wrong else []
        stuck = [one for one, (_, held) in answered.items() if held]
        if stuck:
            problems.append(f"{len(stuck)} accounts still hold money although nothing is pending: {_some(stuck)}")
        return problems


def _some(culprits: Iterable[object]) -> str:
    listed = [str(one) for one in culprits]
    return ", ".join(listed[:SHOWN]) + (" …" if len(listed) > SHOWN else "")
