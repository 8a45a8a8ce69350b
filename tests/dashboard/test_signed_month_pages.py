"""The pages of a month that is signed off: what comes late is told, and what was sealed can be looked at."""

from dataclasses import dataclass
from datetime import date

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.test_statements import DAY, upload
from tests.dashboard.world import Browser, World, text_of
from tests.statements.month import Month, Movement, Stated, as_camt

LAST_ON = "2026-01-31"
OPENING = Movement("opening", date(2025, 12, 31), 10_000_000, "wallet:ada")
PAID = Movement("a", DAY, 500, "wallet:ada")
RIGHT = Stated("1", DAY, 500, "a", "Transfer a")


@dataclass
class Signed:
    """Who works on the month, and its page."""

    ann: Browser
    cleo: Browser
    page: str


@pytest.fixture
def signed(world: World) -> Signed:
    """A month of one payment, signed off by a controller."""
    world.account(BANK, "asset")
    world.account("expense:charges", "expense")
    world.account("wallet:ada")
    for one in (OPENING, PAID):
        moment = f"{one.day}T12:00:00Z"
        paid = world.pay(BANK, "wallet:ada", one.amount_minor, external_id=one.reference, effective_at=moment)
        assert paid.status_code < 300
    world.drained()
    ann, cleo = world.signed_in(Role.ACCOUNTANT, "ann"), world.signed_in(Role.CONTROLLER, "cleo")
    assert "1 line added" in text_of(upload(ann, as_camt(Month([], [RIGHT]))).text)
    page = cleo.send("/statements", "/statements/link", place="0", account_id=BANK).headers["Location"]
    assert ann.send(page, f"{page}/run").status_code == 303
    done = cleo.send(page, f"{page}/sign-off", through=LAST_ON, remark="January is right")
    assert done.status_code == 303, text_of(done.text)
    return Signed(ann, cleo, page)


def late(signed: Signed) -> str:
    """Import a charge of the signed month; returns the answer."""
    return upload(signed.ann, as_camt(Month([], [RIGHT, Stated("2", DAY, -300, "", "Account charges")]))).text


def test_a_line_that_comes_too_late_is_told_where_it_is_imported_and_in_the_state_of_its_source(signed: Signed) -> None:
    assert "in order" in text_of(signed.ann.page("/statements"))
    told = (
        "1 line falls in the month that is signed off through 2026-01-31: it stands as an unmatched line of the next "
        "period; reopen the month to take it in."
    )
    answer = late(signed)
    assert 'class="notice" data-state="attention"' in answer
    assert "1 line added" in text_of(answer)
    assert text_of(answer).count(told) == 2
    assert "late lines" in text_of(signed.ann.page("/statements"))
