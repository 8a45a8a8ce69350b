"""Clients that write at once, and an auditor who knows nothing but what they were told."""

import http.client
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from tests.patience import PATIENCE_S, until
from tests.system.harness import BANK, Client, System, payment

RETRY_S = 0.02
DEFINITE = {200, 201, 404, 409, 422}
"""Anything else, or no answer at all, is "unknown": sent again with the same external_id."""


@dataclass(slots=True)
class Sent:
    """One payment, and every definite answer to it: status, then payment id or code of refusal."""

    body: dict[str, Any]
    answers: list[tuple[int, str]] = field(default_factory=list)
    unknown: int = 0

    @property
    def accepted(self) -> bool:
        """Whether it was acknowledged."""
        return self.answers[0][0] in (200, 201)


def send(client: Client, sent: Sent) -> None:
    """Send until a definite answer comes; the same external_id each time."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            answer = client.pay(sent.body)
        except (OSError, http.client.HTTPException):
            answer = None
        if answer is not None and answer.status in DEFINITE:
            sent.answers.append((answer.status, answer.body.get("payment_id") or answer.body["code"]))
            return
        sent.unknown += 1
        time.sleep(RETRY_S)
    raise AssertionError(f"no definite answer to {sent.body['external_id']} in {PATIENCE_S} s: {answer}")


@dataclass(slots=True, frozen=True)
class Plan:
    """What one client process does."""

    port: int
    key: str
    hot: tuple[str, ...]
    cold: tuple[str, ...]
    payments: int
    threads: int
    seed: int


HOT_SHARE, DEPOSIT_SHARE, REPLAY_SHARE = 0.5, 0.1, 0.2


def run_plan(plan: Plan) -> list[Sent]:
    """All threads of one client process."""
    share = plan.payments // plan.threads
    with ThreadPoolExecutor(plan.threads) as pool:
        parts = pool.map(lambda thread: _run_thread(plan, share, f"{plan.seed}-{thread}"), range(plan.threads))
        return [sent for part in parts for sent in part]


def _run_thread(plan: Plan, count: int, name: str) -> list[Sent]:
    chance = random.Random(name)
    client = Client(plan.port, plan.key)
    done: list[Sent] = []
    for number in range(count):
        done.append(Sent(_draw(plan, chance, f"load-{name}-{number}")))
        send(client, done[-1])
        if chance.random() < REPLAY_SHARE:
            send(client, chance.choice(done[-50:]))
    client.close()
    return done


def _draw(plan: Plan, chance: random.Random, external_id: str) -> dict[str, Any]:
    source = chance.choice(plan.hot if chance.random() < HOT_SHARE else plan.cold)
    destination = chance.choice(plan.hot if chance.random() < HOT_SHARE else plan.cold)
    if source == destination:
        destination = BANK
    if chance.random() < DEPOSIT_SHARE:
        source, destination = BANK, source
    return payment(source, destination, chance.randint(1, 500), external_id=external_id)


def run_processes(plans: Sequence[Plan]) -> list[Sent]:
    """Each plan in a process of its own."""
    with ProcessPoolExecutor(len(plans), mp_context=multiprocessing.get_context("spawn")) as pool:
        return [sent for part in pool.map(run_plan, plans) for sent in part]


class Traffic:
    """Threads that pay until told to stop, whatever happens to the system meanwhile."""

    def __init__(self, system: System, accounts: Sequence[str], name: str, threads: int = 8) -> None:
        self._stopped = Event()
        self._parts: list[list[Sent]] = [[] for _ in range(threads)]
        self._errors: list[BaseException] = []
        plan = Plan(system.port, system.key, tuple(accounts[:2]), tuple(accounts[2:]), 0, threads, 0)
        self._threads = [Thread(target=self._run, args=(plan, f"{name}-{n}", self._parts[n])) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, plan: Plan, name: str, done: list[Sent]) -> None:
        chance, client = random.Random(name), Client(plan.port, plan.key, timeout_s=10.0)
        try:
            while not self._stopped.is_set():
                sent = Sent(_draw(plan, chance, f"traffic-{name}-{len(done)}"))
                send(client, sent)
                done.append(sent)
                if chance.random() < REPLAY_SHARE:
                    send(client, chance.choice(done[-50:]))
        except BaseException as error:
            self._errors.append(error)
            raise
        finally:
            client.close()

    @property
    def count(self) -> int:
        """How many payments have a definite answer."""
        assert not self._errors, self._errors[0]
        return sum(len(part) for part in self._parts)

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more have been answered, as long as any are: a busy machine is no failure."""
        wanted = self.count + number
        while (answered := self.count) < wanted:
            until(lambda answered=answered: self.count > answered)

    def stop(self) -> list[Sent]:
        """Let everybody finish; returns what was sent."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        assert not self._errors, self._errors[0]
        return [sent for part in self._parts for sent in part]


# The auditor


def audit(system: System, sent: Iterable[Sent], opening: dict[str, int]) -> Counter[str]:
    """Recompute everything from the answers alone; `opening` is each wallet's balance before. Returns the counts."""
    sent = list(sent)
    counts: Counter[str] = Counter()
    for one in sent:
        counts["requests"] += len(one.answers) + one.unknown
        counts["replays"] += len(one.answers) - 1
        counts["unknown"] += one.unknown
        counts["accepted" if one.accepted else one.answers[0][1]] += 1
        assert len({answer for _, answer in one.answers}) == 1, f"answers differ: {one}"
        assert all((status in (200, 201)) == one.accepted for status, _ in one.answers), one
        assert sum(status == 201 for status, _ in one.answers) <= 1, f"accepted again: {one}"
        if not one.unknown and one.accepted:
            assert one.answers[0][0] == 201, f"a first answer that claims to be a replay: {one}"
    _audit_ledger(system, sent)
    _audit_balances(system, sent, opening)
    return counts


def _audit_ledger(system: System, sent: Sequence[Sent]) -> None:
    """Each accepted payment is in the ledger exactly once, as it was sent; no refused one is."""
    rows = system.sql(
        """SELECT t.external_id, t.payment_id, e.account_id, e.amount_minor
        FROM ledger_transaction t JOIN entry e USING (partition, chain_seq) WHERE t.external_id = ANY(%s)
        ORDER BY t.external_id, e.leg""",
        [one.body["external_id"] for one in sent],
    )
    booked: dict[str, list[tuple[Any, ...]]] = {}
    for external_id, *entry in rows:
        booked.setdefault(external_id, []).append(tuple(entry))
    for one in sent:
        found = booked.pop(one.body["external_id"], [])
        if not one.accepted:
            assert found == [], f"refused and yet in the ledger: {one}"
            continue
        payment_id, amount = one.answers[0][1], one.body["amount_minor"]
        assert found == [
            (payment_id, one.body["source_account_id"], amount),
            (payment_id, one.body["destination_account_id"], -amount),
        ], f"acknowledged, but in the ledger it is {found}: {one}"
    assert not booked


def _audit_balances(system: System, sent: Sequence[Sent], opening: dict[str, int]) -> None:
    """No lost update, no overdraft, and the cache says the same as the ledger."""
    expected = dict(opening)
    for one in sent:
        if one.accepted:
            for account_id, sign in ((one.body["source_account_id"], -1), (one.body["destination_account_id"], 1)):
                if account_id in expected:
                    expected[account_id] += sign * one.body["amount_minor"]
    wallets = list(expected)
    ledger = dict(
        system.sql("SELECT account_id, balance_minor FROM account_balance WHERE account_id = ANY(%s)", wallets)
    )
    assert ledger == expected
    sums = dict(
        system.sql("SELECT account_id, -sum(amount_minor) FROM entry WHERE account_id = ANY(%s) GROUP BY 1", wallets)
    )
    assert {name: int(sums.get(name, 0)) for name in wallets} == expected
    [(lowest,)] = system.sql("SELECT min(balance_minor) FROM entry WHERE account_id = ANY(%s)", wallets)
    assert lowest >= 0, "a wallet was overdrawn at some moment"
    client = system.client()
    for name in wallets:
        cached = client.balance(name)
        assert (cached["balance_minor"], cached["held_minor"]) == (expected[name], 0), name
    for total in client.get("/v1/reports/trial-balance?limit=1")["totals"]:
        assert total["difference_minor"] == 0
    client.close()


def open_wallets(system: System, prefix: str, count: int, funds_minor: int) -> dict[str, int]:
    """New wallets with money in the ledger; returns their balances."""
    client = system.client()
    names = [client.account(f"{prefix}-{number}") for number in range(count)]
    for name in names:
        answer = client.pay(payment(BANK, name, funds_minor, external_id=f"opening-{name}"))
        assert answer.status == 201, answer.body
    client.close()
    system.wait_posted()
    return dict.fromkeys(names, funds_minor)
