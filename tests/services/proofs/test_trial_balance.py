"""The trial balance that is brought up to date says what one that is read afresh says."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.accounts import AccountType
from app.domain.financial_statements import Period
from app.domain.read_models import AsOf, TimeBasis
from app.domain.trial_balance import CurrencyBalance
from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.trial_balance import LedgerTrialBalance
from app.services.proofs.financial_statements import FinancialStatements
from app.services.proofs.trial_balance import TrialBalances
from tests.world import World


def read(balances: TrialBalances, **wanted: object) -> list[CurrencyBalance]:
    options = {"entity_id": None, "currency_code": None, "as_of": None, "most": 3} | wanted
    return balances.read(**options)  # type: ignore[arg-type]


def trial_balances(world: World) -> TrialBalances:
    return TrialBalances(LedgerTrialBalance(world.engine), lambda: datetime.now(UTC))


def test_known_totals_brought_up_to_date_are_those_that_are_read_afresh(world: World) -> None:
    """Accounts cross zero in both directions, are made meanwhile, and belong to entities and currencies."""
    chance = random.Random(7)
    kept = trial_balances(world)
    ids = [world.account(f"a{n}", AccountType.ASSET, entity_id=f"e{n % 2}") for n in range(6)]
    ids += [world.account(f"y{n}", AccountType.REVENUE, currency_code="JPY") for n in range(3)]
    read(kept)
    for step in range(12):
        if step % 4 == 1:
            ids.append(world.account(f"later{step}", AccountType.EXPENSE, entity_id="e1"))
        groups = [[one for one in ids if one.startswith(first)] for first in ("a", "y")]
        for _ in range(3):
            group = [one for one in chance.choice(groups) if one.startswith("y") or int(one[1:]) % 2 == 0]
            source, destination = chance.sample(group, 2)
            code = "JPY" if source.startswith("y") else "EUR"
            world.accepted(source, destination, chance.randint(1, 500), currency_code=code)
        world.drain()
        assert read(kept) == read(trial_balances(world)), step
        for wanted in ({"entity_id": "e0"}, {"currency_code": "JPY"}):
            assert read(kept, **wanted) == read(trial_balances(world), **wanted)
    assert all(one.difference_minor == 0 for one in read(kept))
    assert sum(one.account_count for one in read(kept)) == len(ids)


@pytest.mark.parametrize("basis", list(TimeBasis))
def test_a_report_of_the_past_is_kept_until_something_could_change_it(world: World, basis: TimeBasis) -> None:
    balances = trial_balances(world)
    world.account("alice", balance_minor=500)
    past = AsOf(datetime.now(UTC) - timedelta(days=1), basis)
    assert read(balances, as_of=past) == [], "there was no account yet"
    world.account("bob")
    world.accepted(world.bank(), "bob", 200, effective_at=past.at - timedelta(days=1))
    world.drain()
    after = [(one.debit_minor, one.account_count) for one in read(balances, as_of=past)]
    assert after == ([(200, 2)] if basis is TimeBasis.EFFECTIVE else [])


def test_a_report_of_the_past_by_posted_time_is_read_once_whatever_is_posted_and_opened_since(world: World) -> None:
    now = datetime.now(UTC) + timedelta(hours=1)
    balances = TrialBalances(LedgerTrialBalance(world.engine), lambda: now)
    world.account("alice", balance_minor=500)
    past = AsOf(datetime.now(UTC), TimeBasis.POSTED)
    first = read(balances, as_of=past)
    assert [one.debit_minor for one in first] == [500]
    world.account("bob", balance_minor=200)
    assert read(balances, as_of=past) is first
    assert [one.debit_minor for one in read(trial_balances(world), as_of=past)] == [500]


def test_a_report_of_an_instant_that_was_still_to_come_is_read_again_once_that_is_past(world: World) -> None:
    """Such as the end of this day."""
    now = datetime.now(UTC)
    balances = TrialBalances(LedgerTrialBalance(world.engine), lambda: now)
    statements = FinancialStatements(LedgerFinancialStatements(world.engine), lambda: now)
    end = AsOf(now + timedelta(hours=1), TimeBasis.POSTED)
    world.account("alice", balance_minor=500)
    assert [one.debit_minor for one in read(balances, as_of=end)] == [500]
    assert [one.asset_minor for one in statements.read(Period(None, end.at, end.by))] == [500]
    world.accepted("bank", "alice", 200)
    world.drain()
    now += timedelta(hours=2)
    assert [one.debit_minor for one in read(balances, as_of=end)] == [700]
    assert [one.asset_minor for one in statements.read(Period(None, end.at, end.by))] == [700]
