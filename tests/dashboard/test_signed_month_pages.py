"""The pages of a month that is signed off: what comes late is told, and what was sealed can be looked at."""

import re
from dataclasses import dataclass
from datetime import date

import pytest

from app.domain.users import Role
from tests.api.world import BANK
from tests.dashboard.test_statements import DAY, ticked, upload
from tests.dashboard.world import Browser, World, rows_of, text_of
from tests.statements.month import Month, Movement, Stated, as_camt

LAST_ON = "2026-01-31"
OPENING = Movement("opening", date(2025, 12, 31), 10_000_000, "wallet:ada")
PAID = Movement("a", DAY, 500, "wallet:ada")
RIGHT = Stated("1", DAY, 500, "a", "Transfer a")


@dataclass
class Signed:
    """Who works on the month, and its page."""

    world: World
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
    return Signed(world, ann, cleo, page)


def late(signed: Signed) -> str:
    """Import a charge of the signed month; returns the answer."""
    charge = Stated("2", DAY, -300, "", "Account charges")
    answer: str = upload(signed.ann, as_camt(Month([], [RIGHT, charge]))).text
    return answer


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


def test_a_signed_month_keeps_its_heading_and_shows_what_was_sealed(signed: Signed) -> None:
    for path in (signed.page, f"{signed.page}?through={LAST_ON}"):
        shown = signed.cleo.page(path)
        assert "2026-01-01 to 2026-01-31" in re.sub("<[^>]+>", "", re.findall(r"<h1>(.*?)</h1>", shown)[0])
        assert "2026-02-01" not in text_of(shown)
    late(signed)
    link = re.search(r'<th scope="row"><a href="([^"]+/sign-offs/\d+)"', signed.cleo.page(signed.page))
    assert link is not None
    sealed = signed.cleo.page(link[1])
    assert rows_of(sealed, 'id="sealed"')[1:3] == [
        ["Bank", "100,000.00", "5.00", "0.00", "100,005.00"],
        ["Ledger", "100,000.00", "5.00", "0.00", "100,005.00"],
    ]
    said = text_of(sealed)
    assert "signed by cleo" in said
    assert "“January is right”" in said
    assert "Nothing was outstanding." in said
    [(digest,)] = signed.world.sql("SELECT encode(hash, 'hex') FROM sign_off")
    assert digest in said
    assert "none; this is the first" in said
    assert signed.cleo.get(link[1].rpartition("/")[0] + "/99").status_code == 404


def test_a_journal_of_a_signed_day_says_that_it_has_the_first_open_day(signed: Signed) -> None:
    late(signed)
    assert signed.ann.send(signed.page, f"{signed.page}/run").status_code == 303
    shown = signed.ann.page(signed.page)
    assert "Its period is signed off; reopen the period to undo it." in text_of(shown)
    assert "Unmatch" not in shown
    assert "is dated 2026-02-01, the first day that is not signed off" in text_of(shown)
    line = ticked(shown, "Account charges")
    fields = {"deed": "journal", "line": line, "journal_account_id": "expense:charges", "reason": "late charge"}
    said = "late charge (dated 2026-02-01, because 2026-01-10 is signed off)"
    preview = signed.ann.send(signed.page, f"{signed.page}/match", **fields)
    assert f"Dated 2026-02-01, in EUR: “{said}”" in text_of(preview.text)
    posted = signed.ann.send(signed.page, f"{signed.page}/match", confirmed="1", **fields)
    assert posted.status_code == 303, text_of(posted.text)
    signed.world.drained()
    assert said in text_of(signed.ann.page(f"{signed.page}?through=2026-02-01"))
    assert signed.cleo.send(signed.page, f"{signed.page}/reopen", reason="a late charge").status_code == 303
    opened = text_of(signed.cleo.page(f"{signed.page}?through={LAST_ON}"))
    assert (
        "2026-01-10 Account charges −3.00, only on the statement at the end of 2026-01-31; matched on 2026-02-01."
        in opened
    )
