"""Customers: each does at random whatever the API offers, and keeps a journal of what it was told."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from tests.system.harness import BANK, Answer
from tests.system.mixed.deeds import (
    AUTHORIZATION,
    JOURNAL,
    PAYMENT,
    REFUND,
    REVERSAL,
    AccountWish,
    Conclusion,
    Deed,
    Told,
    of_payment,
)
from tests.system.mixed.desk import Desk

THINK_S = 0.05
"""A customer's mean pause between two acts: the outages are the point, not the machine's last percent."""

LATELY = 40
"""How many of the last deeds a customer comes back to."""

LIMITS = (0, 2_000, 10_000)
REVENUE = "fees:revenue"


@dataclass(frozen=True)
class Town:
    """The system's address, and the accounts."""

    port: int
    key: str
    wallets: tuple[str, ...]
    merchants: tuple[str, ...]


@dataclass(eq=False)
class Customer(Thread):
    """One thread; `name` and `seed` make its external ids and its choices."""

    town: Town
    label: str
    seed: str
    own_accounts: tuple[str, ...]
    """Accounts that this customer alone changes; everybody pays from them."""
    stopped: Event
    deeds: list[Deed] = field(default_factory=list)
    changes: dict[str, AccountWish] = field(default_factory=dict)
    missing: list[tuple[float, str]] = field(default_factory=list)
    """Acknowledged payments that a read did not find, and when."""
    regressions: list[str] = field(default_factory=list)
    """Payments that were posted and were shown as something else afterwards."""
    error: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(name=self.label, daemon=True)
        self.chance = random.Random(self.seed)
        self.desk = Desk(self.town.port, self.town.key, self.stopped)
        self.number = 0
        self.open: list[Deed] = []

    def run(self) -> None:
        """Act until told to stop; everything that was begun is brought to a definite answer."""
        acts, weights = zip(*ACTS, strict=True)
        try:
            while not self.stopped.is_set():
                self.chance.choices(acts, weights)[0](self)
                self.desk.pause(self.chance.expovariate(1 / THINK_S))
        except BaseException as error:
            self.error = error
            raise

    # Payments

    def pay(self) -> None:
        """A payment to one destination; some wait for the ledger."""
        headers = {"Prefer": "wait=5"} if self.chance.random() < 0.15 else None
        self.submit(self.new_payment(), headers)

    def split(self) -> None:
        """A payment to two destinations."""
        first, second = self.chance.sample(self.town.merchants, 2)
        body = self.new_body(self.chance.choice(self.town.wallets), self.chance.randint(10, 300))
        parts = [{"account_id": first, "amount_minor": body["amount_minor"] // 3}]
        body["destinations"] = [*parts, {"account_id": second, "remainder": True}]
        self.submit(self.deed(PAYMENT, body))

    def authorize(self) -> None:
        """Funds held for a while."""
        body = self.new_payment().body
        body |= {"source_account_id": self.chance.choice(self.town.wallets), "capture": "manual"}
        body |= {"destination_account_id": self.chance.choice(self.town.merchants)}
        body["expires_in_s"] = self.chance.randint(2, 10)
        deed = self.deed(AUTHORIZATION, body)
        self.submit(deed)
        if deed.told:
            self.open = [*self.open[-LATELY:], deed]

    def conclude(self) -> None:
        """Capture or void an authorization; some are left to expire."""
        if not self.open:
            return
        deed = self.open.pop(self.chance.randrange(len(self.open)))
        if self.chance.random() < 0.3:
            return
        is_capture = self.chance.random() < 0.7
        amount = self.chance.choice((deed.amount_minor, max(1, deed.amount_minor // 2))) if is_capture else 0
        destination = deed.body["destination_account_id"]
        legs = ((deed.body["source_account_id"], amount), (destination, -amount))
        ended = deed.conclusion = Conclusion("capture" if is_capture else "void", amount, legs)

        def unknown() -> None:
            ended.unknown += 1

        path = f"/v1/payments/{deed.told[-1].payment_id}/{ended.wish}"
        answer = self.desk.insist("POST", path, {"amount_minor": amount} if is_capture else {}, unknown)
        if answer is not None and answer.status == 200:
            ended.told.append(Told(time.time(), answer.body["payment_id"], answer.body["status"]))
        elif answer is not None:
            ended.refused = str(answer.code)

    def repeat(self) -> None:
        """The same request again: the answer must be the same."""
        deeds = [one for one in self.deeds[-LATELY:] if one.told]
        if deeds:
            self.submit(self.chance.choice(deeds), is_repeat=True)

    def batch(self) -> None:
        """Some payments in one document."""
        deeds = [self.new_payment() for _ in range(self.chance.randint(2, 15))]
        answer = self.desk.once("POST", "/v1/payments/batch", {"payments": [one.body for one in deeds]})
        items = answer.body["data"] if answer is not None and answer.status == 200 else [None] * len(deeds)
        self.take(deeds, items)

    def stream(self) -> None:
        """Some payments as lines."""
        deeds = [self.new_payment() for _ in range(self.chance.randint(5, 40))]
        self.take(deeds, self.desk.stream("/v1/payments/batch", [one.body for one in deeds]))

    def take(self, deeds: Sequence[Deed], items: Sequence[dict[str, Any] | None]) -> None:
        """The answers to some payments; those without a definite one are sent again one by one."""
        for deed, item in zip(deeds, items, strict=True):
            if item is None or item["status"] >= 500 or item.get("problem", {}).get("retryable"):
                deed.unknown += 1
                self.submit(deed)
                continue
            self.desk.counts[f"line {item['status']}"] += 1
            self.note(deed, Answer(item["status"], {}, item.get("payment") or item.get("problem")))  # type: ignore[arg-type]
            self.deeds.append(deed)

    # What is posted while the caller waits

    def refund(self) -> None:
        """Give back a part of an earlier payment."""
        paid = [one for one in self.deeds[-LATELY:] if one.kind == PAYMENT and one.told]
        if not paid:
            return
        deed = self.chance.choice(paid)
        amount = max(1, deed.amount_minor // self.chance.randint(1, 3))
        body = {"external_id": self.new_id("refund"), "amount_minor": amount, "reason": "a customer's wish"}
        legs = ((deed.legs[0][0], -amount),)
        self.submit(Deed(REFUND, f"/v1/payments/{deed.told[-1].payment_id}/refunds", body, legs))

    def journal(self) -> None:
        """A correction over several accounts."""
        one, two = self.chance.sample(self.town.wallets, 2)
        amount, fee = self.chance.randint(2, 100), self.chance.randint(1, 5)
        legs = ((one, amount + fee), (two, -amount), (REVENUE, -fee))
        entries = [
            {"account_id": name, "direction": "debit" if signed > 0 else "credit", "amount_minor": abs(signed)}
            for name, signed in legs
        ]
        body = {"external_id": self.new_id("journal"), "entries": entries, "reason": "a correction"}
        self.submit(Deed(JOURNAL, "/v1/journals", body, legs))

    def reverse(self) -> None:
        """Undo an earlier journal."""
        journals = [one for one in self.deeds[-4 * LATELY :] if one.kind == JOURNAL and one.told]
        if journals:
            deed = self.chance.choice(journals)
            body = {"external_id": self.new_id("reversal"), "reason": "a mistake"}
            legs = tuple((name, -signed) for name, signed in deed.legs)
            self.submit(Deed(REVERSAL, f"/v1/journals/{deed.told[-1].payment_id}/reversal", body, legs))

    def change(self) -> None:
        """Change an account of one's own."""
        account_id = self.chance.choice(self.own_accounts)
        wanted = self.chance.choice(
            (
                {"overdraft_limit_minor": self.chance.choice(LIMITS), "reason": "another limit"},
                {"name": f"{account_id} {self.number}"},
                {"status": self.chance.choice(("open", "open", "frozen_debits")), "reason": "a review"},
            )
        )
        wish = self.changes.setdefault(account_id, AccountWish())
        answer = self.desk.insist("PATCH", f"/v1/accounts/{account_id}", wanted, lambda: None)
        wish.is_certain = answer is not None
        if answer is not None and answer.status == 200:
            wish.fields |= {name: value for name, value in wanted.items() if name != "reason"}

    # Reading

    def look(self) -> None:
        """Read something; what was posted once must stay so."""
        if self.deeds and self.chance.random() < 0.5:
            self.look_at(self.chance.choice(self.deeds[-LATELY:]))
            return
        account_id = self.chance.choice(self.town.wallets + self.town.merchants)
        path = self.chance.choice((f"/v1/accounts/{account_id}/balance", f"/v1/accounts/{account_id}/entries?limit=20"))
        if self.chance.random() < 0.1:
            path = "/v1/reports/trial-balance?limit=1"
        answer = self.desk.once("GET", path)
        if answer is not None and answer.status == 200 and "totals" in answer.body:
            unbalanced = [one for one in answer.body["totals"] if one["difference_minor"]]
            self.desk.faults += [f"unbalanced: {one}" for one in unbalanced]

    def look_at(self, deed: Deed) -> None:
        """Read a payment that was acknowledged."""
        if deed.kind != PAYMENT or not deed.told:
            return
        payment_id, was_posted = deed.told[-1].payment_id, deed.told[-1].status == "posted"
        answer = self.desk.once("GET", f"/v1/payments/{payment_id}")
        if answer is None or answer.status >= 500:
            return
        if answer.status == 404:
            self.missing.append((time.time(), payment_id))
        elif was_posted and answer.body["status"] != "posted":
            self.regressions.append(f"{payment_id} was posted, and is {answer.body['status']}")
        elif answer.body["status"] == "posted" and answer.body["payment_id"] == payment_id:
            deed.told.append(Told(time.time(), payment_id, "posted"))

    # Asking

    def new_id(self, what: str) -> str:
        self.number += 1
        return f"{self.label}-{what}-{self.number}"

    def new_body(self, source: str, amount_minor: int) -> dict[str, Any]:
        self.number += 1
        return {
            "external_id": f"{self.label}-{self.number}",
            "source_account_id": source,
            "amount_minor": amount_minor,
            "currency_code": "EUR",
        }

    def new_payment(self) -> Deed:
        """From a wallet to anybody, or from the bank to a wallet."""
        source = BANK if self.chance.random() < 0.15 else self.chance.choice(self.town.wallets)
        others = self.town.wallets if source == BANK else self.town.wallets + self.town.merchants
        destination = self.chance.choice([one for one in others if one != source])
        body = self.new_body(source, self.chance.randint(1, 400 if source == BANK else 150))
        return self.deed(PAYMENT, {**body, "destination_account_id": destination})

    def deed(self, kind: str, body: dict[str, Any]) -> Deed:
        return Deed(kind, "/v1/payments", body, of_payment(body))

    def submit(self, deed: Deed, headers: dict[str, str] | None = None, *, is_repeat: bool = False) -> None:
        """Send until the answer is definite, and write it down."""
        if not is_repeat:
            self.deeds.append(deed)

        def unknown() -> None:
            deed.unknown += 1

        answer = self.desk.insist("POST", deed.path, deed.body, unknown, headers)
        if answer is not None:
            self.note(deed, answer)

    def note(self, deed: Deed, answer: Answer) -> None:
        """Write a definite answer down."""
        if answer.status in (200, 201):
            name = {REFUND: "refund_id", JOURNAL: "journal_id", REVERSAL: "journal_id"}.get(deed.kind, "payment_id")
            deed.told.append(Told(time.time(), answer.body[name], answer.body["status"]))
        elif deed.told:
            deed.refused_later.append(str(answer.code))
        else:
            deed.refused = str(answer.code)


ACTS = (
    (Customer.pay, 40),
    (Customer.split, 8),
    (Customer.authorize, 10),
    (Customer.conclude, 10),
    (Customer.refund, 6),
    (Customer.journal, 5),
    (Customer.reverse, 1),
    (Customer.batch, 2),
    (Customer.stream, 2),
    (Customer.change, 3),
    (Customer.look, 14),
    (Customer.repeat, 6),
)
"""What a customer does, and how often out of a hundred and seven."""
