"""Reports of the past, which work from now back, say what adding up all entries before the instant says.

The histories are random: several entities and currencies, balances that change sign, accounts that were made after some
of their entries take effect, effects before and after posting, and many times that are equal or a microsecond apart.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest

from app.domain.accounts import AccountType, normal_sign
from app.domain.financial_statements import RESULT_TYPES, Period
from app.domain.read_models import AsOf, LedgerMoment, ReportCursor, TimeBasis, TrialBalanceLine
from app.domain.trial_balance import TrialBalanceAccount, TypeTotal
from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.past_balances import way_to
from app.ledger.trial_balance import KnownTotals, LedgerTrialBalance
from tests.builders import PARTITIONS
from tests.world import World

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
CHAINS = PARTITIONS + 1
MOST = 2
EVERYTHING: dict[str, str | None] = {"entity_id": None, "currency_code": None}
CHOICES = (EVERYTHING, {"entity_id": "e1", "currency_code": None}, {"entity_id": "e0", "currency_code": "JPY"})


@dataclass(frozen=True)
class Account:
    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    created_at: datetime


@dataclass(frozen=True)
class Posted:
    """A transaction of two entries: what the first account is debited with, the second is credited with."""

    accounts: tuple[str, str]
    amount_minor: int
    posted_at: datetime
    effective_at: datetime

    def counts(self, as_of: AsOf | None) -> bool:
        """Whether it had happened by an instant."""
        if as_of is None:
            return True
        return (self.posted_at if as_of.by is TimeBasis.POSTED else self.effective_at) < as_of.before


@dataclass
class Books:
    """What was written into a ledger, past its guards, and what adding it up comes to."""

    world: World
    chance: random.Random
    accounts: dict[str, Account] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)
    heads: list[int] = field(default_factory=lambda: [0] * CHAINS)
    effects: tuple[int, ...] = (0, 0, 0, 0, -1, 1, -30, 30)
    """Hours between posting and effect."""

    def open(self, count: int, hours: int) -> None:
        """Open accounts, within so many hours."""
        rows = []
        for _ in range(count):
            name = f"{self.chance.choice('abc')}{len(self.accounts)}"
            type, code = self.chance.choice(list(AccountType)), self.chance.choice(("EUR", "JPY"))
            entity = self.chance.choice(("e0", "e1"))
            created_at = self.instant(hours) + self.chance.choice((-1, 0)) * timedelta(microseconds=1)
            self.accounts[name] = Account(name, entity, type, code, created_at)
            rows.append((name, entity, code, type.value, normal_sign(type), created_at))
        self._write(
            """WITH given AS (SELECT %s AS id, %s AS entity, %s AS code, %s AS type, %s AS sign, %s AS at), made AS (
                INSERT INTO account (account_id, entity_id, type, currency_code, created_by, created_at)
                SELECT id, entity, type, code, 'tests', at FROM given)
            INSERT INTO account_balance (account_id, entity_id, currency_code, normal_sign)
            SELECT id, entity, code, sign FROM given""",
            rows,
        )

    def post(self, count: int, first_hour: int) -> None:
        """Post transactions from an hour on, at times that are often the same."""
        at = first_hour
        for _ in range(count):
            at += self.chance.choice((0, 0, 1))
            code = self.chance.choice(("EUR", "JPY"))
            source, destination = self.chance.sample(
                [n for n, one in self.accounts.items() if one.currency_code == code], 2
            )
            posted_at = FIRST + at * HOUR
            effective_at = posted_at + self.chance.choice(self.effects) * HOUR
            early = self.chance.choice((0, 0, 1)) * timedelta(microseconds=1)
            one = Posted((source, destination), self.chance.randint(-9, 9) or 5, posted_at, effective_at - early)
            self.posted.append(one)
            self._write_posted(one)

    def _write_posted(self, one: Posted) -> None:
        chain = self.chance.randrange(CHAINS)
        self.heads[chain] += 1
        seq = self.heads[chain]
        self._write(
            """INSERT INTO ledger_transaction (partition, chain_seq, entity_id, external_id, kind, payment_id,
                fingerprint, actor, accepted_at, effective_at, posted_at, previous_hash, hash)
            VALUES (%s, %s, 'e0', %s, 'payment', %s, '', 'tests', %s, %s, %s, '', '')""",
            [(chain, seq, name := f"{chain}-{seq}", name, one.posted_at, one.effective_at, one.posted_at)],
        )
        self._write(
            """WITH moved AS (
                UPDATE account_balance
                SET balance_minor = balance_minor + normal_sign * %s, entry_count = entry_count + 1
                WHERE account_id = %s RETURNING *)
            INSERT INTO entry (account_id, entry_number, partition, chain_seq, leg, amount_minor, balance_minor,
                currency_code, posted_at)
            SELECT account_id, entry_count, %s, %s, %s, %s, balance_minor, currency_code, %s FROM moved""",
            [
                (amount, name, chain, seq, leg, amount, one.posted_at)
                for leg, (name, amount) in enumerate(
                    zip(one.accounts, (one.amount_minor, -one.amount_minor), strict=True)
                )
            ],
        )
        self._write("UPDATE partition SET chain_seq = %s WHERE partition = %s", [(seq, chain)])

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self.world.owner.transaction():
            self.world.owner.execute("SET LOCAL session_replication_role = replica")
            self.world.owner.cursor().executemany(statement, list(rows))

    def instant(self, hours: int) -> datetime:
        """Some full hour."""
        return FIRST + self.chance.randint(-2, hours) * HOUR

    def instants(self, hours: int) -> Iterator[AsOf]:
        """Instants whose first later moment is a full hour, by both times; and the far ends."""
        for by in TimeBasis:
            for _ in range(8):
                yield AsOf(self.instant(hours) - timedelta(milliseconds=1), by)
            yield AsOf(FIRST - 1_000 * HOUR, by)
            yield AsOf(FIRST + 1_000 * HOUR, by)

    def signed(self, as_of: AsOf | None) -> dict[str, int]:
        """Every account's balance at an instant, debit positive, added up from the beginning."""
        found = dict.fromkeys(self.accounts, 0)
        for one in self.posted:
            if one.counts(as_of):
                found[one.accounts[0]] += one.amount_minor
                found[one.accounts[1]] -= one.amount_minor
        return found

    def totals(self, as_of: AsOf | None, wanted: dict[str, str | None], begins_with: str) -> list[TypeTotal]:
        """The totals at an instant, of the accounts that were open by then or have a balance."""
        found: dict[tuple[str, str], list[int]] = {}
        for name, signed in self.signed(as_of).items():
            one = self.accounts[name]
            if self._is_wanted(one, wanted, begins_with) and (as_of is None or one.created_at < as_of.before or signed):
                total = found.setdefault((one.currency_code, one.type.value), [0, 0, 0])
                total[0] += 1
                total[1] += max(signed, 0)
                total[2] += max(-signed, 0)
        return [TypeTotal(*group, *total) for group, total in sorted(found.items())]

    def first(self, as_of: AsOf | None, wanted: dict[str, str | None], begins_with: str) -> list[TrialBalanceAccount]:
        """The first accounts of each type that have a balance."""
        entries = [name for one in self.posted for name in one.accounts]
        groups: dict[tuple[str, str], list[TrialBalanceAccount]] = {}
        for name, signed in sorted(self.signed(as_of).items()):
            one = self.accounts[name]
            if signed and self._is_wanted(one, wanted, begins_with):
                line = TrialBalanceAccount(
                    name, one.entity_id, one.type, one.currency_code, entries.count(name), signed
                )
                groups.setdefault((one.currency_code, one.type), []).append(line)
        return [line for _, lines in sorted(groups.items()) for line in lines[:MOST]]

    def lines(self, as_of: AsOf | None) -> list[TrialBalanceLine]:
        """Every account as the report over HTTP has it."""
        return [
            TrialBalanceLine(name, one.entity_id, one.type, one.currency_code, max(signed, 0), max(-signed, 0))
            for name, signed in sorted(self.signed(as_of).items())
            for one in (self.accounts[name],)
        ]

    @staticmethod
    def _is_wanted(one: Account, wanted: dict[str, str | None], begins_with: str) -> bool:
        return (
            wanted["entity_id"] in (None, one.entity_id)
            and wanted["currency_code"] in (None, one.currency_code)
            and one.account_id.startswith(begins_with)
        )


@pytest.fixture(params=range(4))
def books(world: World, request: pytest.FixtureRequest) -> Books:
    """Sixty transactions over thirty hours; one of the histories was imported long after it took effect."""
    found = Books(world, random.Random(request.param))
    if request.param == 3:
        found.effects = (-30, -40, -50)
    found.open(24, 30)
    found.post(60, 0)
    return found


def assert_trial_balances(books: Books, known: KnownTotals | None) -> KnownTotals:
    """Each trial balance of now and of some instants is the sum of its entries."""
    ledger = LedgerTrialBalance(books.world.engine)
    for as_of in (None, *books.instants(40)):
        for wanted in CHOICES:
            for begins_with in ("", "b"):
                known, totals, accounts = ledger.read(known, as_of=as_of, begins_with=begins_with, most=MOST, **wanted)
                assert sorted(totals, key=lambda one: (one.currency_code, one.type)) == books.totals(
                    as_of, wanted, begins_with
                ), (as_of, wanted)
                assert accounts == books.first(as_of, wanted, begins_with), (as_of, wanted)
    assert known is not None
    return known


def test_trial_balances_of_the_past_are_the_sums_of_their_entries(books: Books) -> None:
    known = assert_trial_balances(books, None)
    books.open(4, 40)
    books.post(20, 30)
    assert_trial_balances(books, known)


def test_statements_and_balances_of_the_past_are_the_sums_of_their_entries(books: Books) -> None:
    ledger = LedgerFinancialStatements(books.world.engine)
    known = None
    instants = list(books.instants(40))
    for by in TimeBasis:
        mine: list[AsOf | None] = [one for one in instants if one.by is by]
        for begins, end in [*pairwise(mine), *product((None, mine[0]), (None, mine[1]))]:
            period = Period(None if begins is None else begins.before, None if end is None else end.at, by)
            known, totals, accounts = ledger.read(period, known, **EVERYTHING, entities=None)
            assert sorted(totals, key=lambda one: (one.currency_code, one.type)) == books.totals(end, EVERYTHING, "")
            opening = dict.fromkeys(books.accounts, 0) if begins is None else books.signed(begins)
            closing, balances = books.signed(end), books.signed(None)
            expected = {
                name: tuple(normal_sign(one.type) * figures[name] for figures in (opening, closing, balances))
                for name, one in books.accounts.items()
                if one.type in RESULT_TYPES and any(name in posted.accounts for posted in books.posted)
            }
            found = {one.account_id: (one.opening_minor, one.closing_minor, one.balance_minor) for one in accounts}
            assert found == expected, period
    for as_of in instants[::3]:
        signed = books.signed(as_of)
        for name, one in books.accounts.items():
            assert books.world.history.balance_at(name, as_of) == normal_sign(one.type) * signed[name], (name, as_of)


def test_pages_as_of_an_instant_are_of_one_moment_while_others_post(books: Books) -> None:
    walks = []
    for as_of in (None, *books.instants(60)):
        totals, lines, moment = page(books, as_of, None)
        walks.append((as_of, totals, lines, moment, books.lines(as_of)))
    books.open(4, 60)
    books.post(40, 30)
    for as_of, totals, lines, moment, expected in walks:
        found = list(lines)
        while len(lines) == MOST:
            later_totals, lines, _ = page(books, as_of, ReportCursor(found[-1].account_id, moment))
            assert later_totals == totals
            found += lines
        assert found == expected, as_of
        assert totals == {
            code: tuple(
                sum(getattr(one, side) for one in expected if one.currency_code == code)
                for side in ("debit_minor", "credit_minor")
            )
            for code in totals
        }


@pytest.mark.parametrize("by", list(TimeBasis))
def test_the_way_to_an_instant_begins_at_the_nearer_end(books: Books, by: TimeBasis) -> None:
    times = sorted(one.posted_at for one in books.posted)
    with books.world.engine.connect() as connection:
        ways = [way_to(connection, AsOf(times[n], by), None) for n in (0, 10, 50, -1)]
    assert [way.from_now for way in ways] == [False, False, True, True]


def test_a_history_that_was_imported_is_added_up_in_one_join(books: Books) -> None:
    at = AsOf(min(one.posted_at for one in books.posted), TimeBasis.EFFECTIVE)
    with books.world.engine.connect() as connection:
        query = way_to(connection, at, None).query
    assert ("LATERAL" not in query) is (min(books.effects) == -50)


def page(
    books: Books, as_of: AsOf | None, cursor: ReportCursor | None
) -> tuple[dict[str, tuple[int, int]], list[TrialBalanceLine], LedgerMoment]:
    """A short page of the report over HTTP."""
    totals, lines, moment = books.world.history.trial_balance(**EVERYTHING, limit=MOST, as_of=as_of, cursor=cursor)
    return {one.currency_code: (one.debit_minor, one.credit_minor) for one in totals}, lines, moment
