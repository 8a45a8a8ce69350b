"""Five payouts of a processor, explained to the cent: by its report, by the ledger, and by the bank that received them.

The report has charges with fees, a refund, a dispute with its fee, money held in reserve and let go, and a fee of its
own. Each movement is an entry of the ledger's account for the processor; fees are posted once for each payout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.domain.accounts import AccountType
from app.domain.match_records import StatementAccount
from app.domain.refusals import Refusal
from tests.builders import payment
from tests.services.statements.desk import Desk
from tests.statements.month import Month, Stated
from tests.statements.month import money as written
from tests.statements.reading import stripe, stripe_row
from tests.world import World

PROCESSOR, BANK, FEES, RESERVE, CUSTOMER = "processor:balance", "bank:current", "expense:fees", "reserve", "customer:1"

Row = tuple[str, str, int, int, str]
"""Id, kind, amount and fee in minor units, payout."""

REPORT: list[Row] = [
    ("c-1", "charge", 50_00, 1_55, "po_1"),
    ("c-2", "charge", 120_00, 3_90, "po_1"),
    ("p-1", "payout", -164_55, 0, "po_1"),
    ("c-3", "charge", 80_00, 2_57, "po_2"),
    ("r-1", "refund", -20_00, 0, "po_2"),
    ("p-2", "payout", -57_43, 0, "po_2"),
    ("c-4", "charge", 200_00, 6_05, "po_3"),
    ("d-1", "adjustment", -80_00, 15_00, "po_3"),
    ("p-3", "payout", -98_95, 0, "po_3"),
    ("c-5", "charge", 33_33, 1_22, "po_4"),
    ("h-1", "reserved_funds", -8_33, 0, "po_4"),
    ("p-4", "payout", -23_78, 0, "po_4"),
    ("h-2", "reserved_funds", 8_33, 0, "po_5"),
    ("f-1", "stripe_fee", -2_00, 0, "po_5"),
    ("c-6", "charge", 10_00, 54, "po_5"),
    ("p-5", "payout", -15_79, 0, "po_5"),
    ("c-7", "charge", 60_00, 0, ""),
]
OTHER_SIDE = {"payout": BANK, "stripe_fee": FEES, "reserved_funds": RESERVE}
PAYOUTS = {payout: -amount for _, kind, amount, _, payout in REPORT if kind == "payout"}
RULES = [
    {"name": "Fees of a payout", "fields": {"batch_id": "metadata.fees_of"}, "cardinality": "N:1", "kinds": ["fee"]}
]
DAY = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    desk = Desk(world)
    for account_id, type in (
        (PROCESSOR, AccountType.ASSET),
        (BANK, AccountType.ASSET),
        (RESERVE, AccountType.ASSET),
        (FEES, AccountType.EXPENSE),
    ):
        world.account(account_id, type)
    world.account(CUSTOMER, overdraft_limit_minor=None)
    return desk


def book(desk: Desk, fees: dict[str, int]) -> None:
    """Post the movements of the report, each under its source's id, and the fees of each payout in one sum."""
    movements = [(f"src_{id}", amount, OTHER_SIDE.get(kind, CUSTOMER), None) for id, kind, amount, _, _ in REPORT]
    movements += [(f"fees-{payout}", -fee, FEES, {"fees_of": payout}) for payout, fee in fees.items()]
    requests = [
        payment(
            *((PROCESSOR, other) if amount > 0 else (other, PROCESSOR)),
            abs(amount),
            external_id=external_id,
            effective_at=DAY,
            metadata=metadata,
        )
        for external_id, amount, other, metadata in movements
    ]
    assert not [one for one in desk.world.payments.submit(requests, "key:test") if isinstance(one, Refusal)]
    desk.world.drain()


def fees() -> dict[str, int]:
    """The fees of each payout."""
    found: Counter[str] = Counter()
    for _, _, _, fee, payout in REPORT:
        found[payout] += fee
    return {payout: fee for payout, fee in found.items() if fee}


def take_report(desk: Desk) -> StatementAccount:
    rows = [
        stripe_row(id, kind, written(amount), written(fee), written(amount - fee), payout=payout)
        for id, kind, amount, fee, payout in REPORT
    ]
    report = desk.take(stripe(*rows), "stripe")
    assert (report.explained_payouts, report.breaks) == (5, [])
    return linked(desk, "stripe", PROCESSOR, RULES)


def linked(desk: Desk, source: str, account_id: str, rules: list[dict[str, object]]) -> StatementAccount:
    [stated] = [one for one in desk.matching.accounts.unlinked() if one[0] == source]
    outcome = desk.matching.save(*stated, account_id, "tests", rules=rules)
    assert not isinstance(outcome, Refusal), outcome
    return outcome[0]


def explained(desk: Desk, account: StatementAccount) -> dict[str, Counter[str]]:
    """What the ledger's entries that are matched with the lines of a payout add up to, by the kind of the lines."""
    found: dict[str, Counter[str]] = {}
    for match in desk.reads.matches(account.statement_account_id, limit=1_000):
        assert match.difference_minor == 0
        [(kind, payout)] = {(line.kind, line.batch_id) for line in match.lines}
        found.setdefault(payout, Counter())[kind] += match.entries_minor
    return found


def test_the_entries_of_each_payout_add_up_to_it(desk: Desk) -> None:
    book(desk, fees())
    account = take_report(desk)
    desk.matching.run(account, "tests")
    assert desk.reads.unmatched(account.statement_account_id, limit=100) == []
    found = explained(desk, account)
    assert {payout: sum(kinds.values()) for payout, kinds in found.items()} == dict.fromkeys(PAYOUTS, 0) | {"": 60_00}
    assert {payout: -kinds["payout"] for payout, kinds in found.items() if payout} == PAYOUTS
    assert found["po_3"] == {"charge": 200_00, "adjustment": -80_00, "fee": -21_05, "payout": -98_95}
    assert desk.world.booked(PROCESSOR) == 60_00, "what is not paid out yet"

    # The bank received the same five sums: each of its lines is the entry of a payout.
    lines = [
        Stated(f"B{n}", DAY.date(), amount, "", f"Payout src_p-{n}") for n, amount in enumerate(PAYOUTS.values(), 1)
    ]
    desk.take_month(Month(lines=lines), "camt")
    received = linked(desk, "camt", BANK, [])
    assert desk.matching.run(received, "tests").matched == 5
    assert desk.reads.unmatched(received.statement_account_id, limit=100) == []


def test_a_cent_too_much_leaves_the_fees_of_that_payout_and_nothing_else(desk: Desk) -> None:
    book(desk, fees() | {"po_3": 21_06})
    account = take_report(desk)
    desk.matching.run(account, "tests")
    items = desk.reads.unmatched(account.statement_account_id, limit=100)
    assert {one.line.line_id for one in items if one.line} == {"c-4/fee", "d-1/fee"}
    assert [one.entry.external_id for one in items if one.entry] == ["fees-po_3"]
    assert sum(explained(desk, account)["po_3"].values()) == 21_05, "what the unmatched fees leave"
