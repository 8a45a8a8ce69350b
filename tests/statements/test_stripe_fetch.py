"""Fetching from Stripe's API: the official library against a local server with recorded objects."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from app.domain.statement import UnreadableStatement
from app.statements.stripe_fetch import fetch_stripe
from tests.statements.reading import read
from tests.statements.stripe_server import DAY, KEY, Served, served


@pytest.fixture
def stripe() -> Iterator[Served]:
    with served() as found:
        yield found


def test_everything_is_fetched_page_by_page_each_once_and_payouts_with_their_lines(
    stripe: Served,
) -> None:
    address, recorded = stripe
    file = io.BytesIO()
    assert fetch_stripe(file, KEY, None, address) == 251
    found = read("stripe", file.getvalue())
    assert found.refused == []
    assert len({line.line_id for line in found.lines}) == len(found.lines) == 501
    of_payout = [line for line in found.lines if line.batch_id == "po_p1"]
    assert len(of_payout) == 5
    assert sum(line.amount_minor for line in of_payout) == 0
    assert max(int(one["limit"]) for one in recorded.asked) == 100


def test_later_only_what_is_new_is_asked_for_and_older_lines_come_with_their_payout(
    stripe: Served,
) -> None:
    address, recorded = stripe
    file = io.BytesIO()
    assert fetch_stripe(file, KEY, datetime(2026, 1, 8, tzinfo=UTC), address) == 3
    assert {one["created[gte]"] for one in recorded.asked if "payout" not in one} == {str(DAY + 6 * 86_400)}
    lines = read("stripe", file.getvalue()).lines
    assert {line.line_id for line in lines} == {"txn_p1", "txn_0", "txn_0/fee", "txn_1", "txn_1/fee"}


def test_a_key_that_may_not_read_is_told_so(stripe: Served) -> None:
    with pytest.raises(UnreadableStatement, match="may not read this"):
        fetch_stripe(io.BytesIO(), "rk_test_other", None, stripe[0])
