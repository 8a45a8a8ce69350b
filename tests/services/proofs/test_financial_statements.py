"""Balance sheet and income statement say what the trial balance says, at any instant and while payments go on."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.accounts import AccountType
from app.domain.errors import LedgerUnavailable
from app.domain.financial_statements import Period
from app.domain.read_models import AsOf, TimeBasis
from app.ledger.financial_statements import LedgerFinancialStatements
from app.ledger.trial_balance import LedgerTrialBalance
from app.services.proofs.financial_statements import FinancialStatements
from app.services.proofs.fresh_figures import FreshFigures
from app.services.proofs.trial_balance import TrialBalances
from tests.world import World


def statements(world: World) -> FinancialStatements:
    return FinancialStatements(LedgerFinancialStatements(world.engine), lambda: datetime.now(UTC))


def result_at(world: World, as_of: AsOf | None) -> dict[str, int]:
    """Revenue less expenses by currency, as the trial balance has it."""
    balances = TrialBalances(LedgerTrialBalance(world.engine), lambda: datetime.now(UTC)).read(
        entity_id=None, currency_code=None, as_of=as_of, most=0
    )
    return {
        one.currency_code: -sum(
            group.total.signed_minor for group in one.groups if group.total.type in ("revenue", "expense")
        )
        for one in balances
    }


@pytest.mark.parametrize("basis", list(TimeBasis))
def test_statements_at_any_instant_are_proved_and_agree_with_the_trial_balance(world: World, basis: TimeBasis) -> None:
    chance = random.Random(11)
    kept = statements(world)
    for code in ("EUR", "JPY"):
        for type in AccountType:
            world.account(f"{code}:{type}", type, currency_code=code, overdraft_limit_minor=None)
    moments: list[datetime] = []
    for _ in range(8):
        for _ in range(4):
            code = chance.choice(("EUR", "JPY"))
            source, destination = chance.sample([f"{code}:{type}" for type in AccountType], 2)
            before = timedelta(days=chance.randint(0, 400))
            more = {"currency_code": code, "effective_at": datetime.now(UTC) - before}
            world.accepted(source, destination, chance.randint(1, 500), **more)
        world.drain()
        moments.append(datetime.now(UTC))
        assert all(one.is_proved for one in kept.read(Period(None, None, basis)))
    for begins_at, ends_at in ((moments[1], moments[5]), (moments[0] - timedelta(days=100), moments[3])):
        found = kept.read(Period(begins_at, ends_at, basis))
        assert found == statements(world).read(Period(begins_at, ends_at, basis))
        before = result_at(world, AsOf(begins_at - timedelta(milliseconds=1), basis))
        after = result_at(world, AsOf(ends_at, basis))
        for one in found:
            assert one.is_proved
            assert one.brought_forward_minor + one.result_minor == after[one.currency_code]
            # Entries of the very millisecond in which the period begins count in it.
            assert one.result_minor == after[one.currency_code] - before.get(one.currency_code, 0)


def test_a_past_period_is_kept_by_posted_time_and_read_again_by_effective_time(world: World) -> None:
    service = statements(world)
    world.account("fees", AccountType.REVENUE)
    world.account("alice", balance_minor=500)
    ends_at = datetime.now(UTC) - timedelta(days=1)
    periods = [Period(None, ends_at, basis) for basis in (TimeBasis.POSTED, TimeBasis.EFFECTIVE)]
    assert [service.read(period) for period in periods] == [[], []], "there was no account yet"
    world.accepted("alice", "fees", 20, effective_at=ends_at - timedelta(days=1))
    world.drain()
    assert [[one.result_minor for one in service.read(period)] for period in periods] == [[], [20]]


def test_totals_are_kept_fresh_and_a_ledger_that_is_away_harms_nobody(world: World) -> None:
    world.account("alice", balance_minor=500)
    balances = TrialBalances(LedgerTrialBalance(world.engine), lambda: datetime.now(UTC))

    def away() -> None:
        raise LedgerUnavailable("away")

    fresh = FreshFigures([away, balances.freshen], lambda: 0.0)
    fresh.note_look()
    fresh.run_once()
    [found] = balances.read(entity_id=None, currency_code=None, as_of=None, most=1)
    assert (found.debit_minor, found.difference_minor) == (500, 0)
