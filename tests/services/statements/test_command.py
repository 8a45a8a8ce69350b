"""`statements` on the command line: what matching and signing off print, their exit codes, and what they refuse."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from app.arguments import parse
from app.commands.statements import run
from tests.services.statements.desk import BANK, Desk
from tests.statements.month import FILES, Month, Movement, Stated, right_month
from tests.statements.stripe_server import DAY as DAY_S
from tests.statements.stripe_server import KEY, Recorded, served, transaction
from tests.world import World

FEE = Stated("F", date(2026, 1, 20), -1_250, "", "Account charges")
DAY = date(2026, 1, 10)


class Typist:
    """A person who types actions of `statements`."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._capsys = capsys
        self._folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What an action prints, on both streams; it ends with this exit code."""
        self._capsys.readouterr()
        ended = run(parse("statements", arguments))
        said = self._capsys.readouterr()
        assert ended == code, said
        return said.out + said.err

    def file(self, name: str, content: object) -> str:
        """The path of a file with a text, or with JSON."""
        path = self._folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def take(self, month: Month, source: str = "bank") -> None:
        """Import a month as the statement of a source."""
        write, _ = FILES["camt"]
        self("import", self.file(f"{source}.xml", write(month)), "--source", source, "--format", "camt")


@pytest.fixture
def desk(world: World, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("DATABASE_URL", world.settings.database_url)
    monkeypatch.setenv("HOLDFAST_OWNER_DATABASE_URL", world.settings.owner_database_url)
    monkeypatch.setenv("REDIS_URL", world.settings.redis_url)
    desk = Desk(world)
    desk.open_accounts()
    return desk


@pytest.fixture
def typed(desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typist:
    return Typist(capsys, tmp_path)


def linked(typed: Typist, month: Month, rules: object) -> None:
    """A month that is imported and linked with rules."""
    typed.take(month)
    typed("link", "--source", "bank", "--account", BANK, "--rules", typed.file("rules.json", rules))


NAME = f"bank DE001 EUR = {BANK}"
JANUARY = ("sign-off", "--source", "bank", "--through", "2026-01-31")


def test_a_month_is_linked_matched_and_signed_off(desk: Desk, typed: Typist) -> None:
    month = right_month()
    month.lines.append(FEE)
    desk.pay(month.payments)
    typed.take(month)
    assert typed("link", code=1) == "not linked: bank  DE001  EUR\n"
    link = ("link", "--source", "bank", "--account", BANK)
    assert typed(*link) == f"{NAME} is saved as version 1.\n"
    assert typed(*link) == f"{NAME} is already version 1.\n"
    assert typed("link") == f"1  {NAME}  version 1, nothing signed off\n"
    assert f"{NAME}: never matched" in typed("status", code=1)

    matched = typed("match", code=1)
    assert f"{NAME}: 181 open lines, 181 open entries: 180 matched, 0 suggested" in matched
    assert "  180 by 'By reference'\n  without a match: 1 fee (1 new, 0 settled)" in matched
    item = r"bank: 2026-01-20  -12\.50 EUR  fee, line \d+ Account charges"
    assert re.search(f"^{item}$", matched, re.MULTILINE)
    assert re.fullmatch(f"{item}\n", typed("unmatched", code=1))
    assert "180 matches, 0 suggestions, 1 line and 0 entries without one" in typed("status", code=1)

    shown = typed(*JANUARY, code=1)
    assert f"{NAME}, 2026-01-01 to 2026-01-31; the bank's opening balance is stated" in shown
    assert "  less 1 line that only the bank has: -12.50\n" in shown
    assert "    2026-01-20  statement  -12.50  Account charges: fee, open\n" in shown
    assert shown.endswith("  1 outstanding item has no owner.\n")
    refused = typed(*JANUARY, "--sign", code=2)
    assert refused.endswith("Not signed off. 1 outstanding item has no owner.\n")

    # Once somebody answers for the item, nothing waits for anybody.
    desk.accept_all()
    assert re.fullmatch(f"{item}, with .*, accepted\n|{item}, accepted\n", typed("unmatched"))
    assert "without a match: 1 fee (0 new, 0 settled)" in typed("match")
    typed("status")
    typed(*JANUARY)
    assert re.search(r"^Signed off as version 1, [0-9a-f]{64}\.$", typed(*JANUARY, "--sign"), re.MULTILINE)


def test_a_signed_month_is_left_alone_until_it_is_reopened(desk: Desk, typed: Typist) -> None:
    month = right_month()
    desk.pay(month.payments)
    linked(typed, month, [])
    typed("match")
    typed(*JANUARY, "--sign", "--remark", "all there")
    assert "signed: 2026-01-01 to 2026-01-31, version 1, by the command line at " in typed("sign-off")

    already = f"{NAME}: 2026-01-31 is before 2026-02-01, the first day that is not signed off.\n"
    assert typed(*JANUARY, code=2) == typed(*JANUARY, "--sign", code=2) == already
    [match] = desk.reads.matches(desk.account().statement_account_id, limit=1)
    undo = ("undo", str(match.match_id), "--reason", "a late change")
    assert typed(*undo, code=2).startswith("Everything up to 2026-01-31 is signed off.")
    desk.pay([Movement("too-late", date(2026, 1, 5), 900, "customer:1")])
    typed("match", code=1)
    february = typed("sign-off", "--through", "2026-02-28", code=1)
    assert "The ledger's opening balance is" in february
    assert "The statements reach 2026-01-31, and not 2026-02-28." in february

    reopen = ("reopen", "--source", "bank", "--reason", "a payment came late")
    assert typed(*reopen) == "2026-01-01 to 2026-01-31, version 1, is open again.\n"
    assert typed(*reopen, code=2) == "Nothing is signed off.\n"
    assert typed(*undo) == f"Match {match.match_id} is undone.\n"
    typed("match", code=1)
    desk.accept_all()
    assert "Signed off as version 2, " in typed(*JANUARY, "--sign")
    chain = typed("sign-off").splitlines()
    assert [line.split()[1] for line in chain[1:]] == ["signed:", "reopened:", "signed:"]
    assert f"version 2, in place of {chain[1].split()[0]}, " in chain[3]


def test_suggestions_are_listed_and_decided(desk: Desk, typed: Typist) -> None:
    desk.pay([Movement("a-1", DAY, 500, "customer:1"), Movement("b-1", DAY, 700, "customer:1")])
    typed.take(Month(lines=[Stated("1", DAY, 500, "", "one"), Stated("2", DAY, 700, "", "two")]))
    typed("link", "--source", "bank", "--account", BANK)
    assert "0 matched, 2 suggested" in typed("match", code=1)
    listed = typed("unmatched", code=1)
    named = r"^bank: 2026-01-10  5\.00 EUR  suggested as match (\d+) by 'Same amount, up to 3 days apart': "
    first = re.search(rf"{named}line \d+ one = entry \d+ a-1$", listed, re.MULTILINE)
    assert first is not None, listed
    assert "2 suggestions are undecided." in typed(*JANUARY, code=1)
    confirm = ("confirm", first[1], "--reason", "the same")
    assert typed(*confirm) == f"Match {first[1]} stands.\n"
    assert typed(*confirm, code=2) == f"Match {first[1]} is matched.\n"
    [second] = re.findall(r"suggested as match (\d+)", typed("unmatched", code=1))
    assert typed("undo", second, "--reason", "not these") == f"Match {second} is undone.\n"
    assert "0 matched, 0 suggested" in typed("match", code=1)
    assert typed("confirm", str(2**62), "--reason", "x", code=2) == f"There is no match {2**62}.\n"


def test_lines_and_entries_are_matched_by_hand(desk: Desk, typed: Typist) -> None:
    desk.pay([Movement("a-1", DAY, 500, "customer:1"), Movement("b-1", DAY, 300, "customer:1")])
    linked(typed, Month(lines=[Stated("1", DAY, 810, "", "both")]), [])
    typed("match", code=1)
    listed = typed("unmatched", code=1)
    [line] = re.findall(r"line (\d+) both", listed)
    entries = ",".join(re.findall(r"entry (\d+) [ab]-1", listed))
    by_hand = ("match", "--lines", line, "--entries", entries)
    assert typed(*by_hand, code=2) == "Say with --reason why. Nothing was matched.\n"
    refused = typed(*by_hand, "--reason", "one order", code=2)
    assert refused.startswith("The lines add up to 8.10 EUR and the entries to 8.00 EUR.")
    done = typed(*by_hand, "--reason", "one order", "--accept-difference")
    assert re.fullmatch(r"Match \d+ stands\.\n", done)
    assert typed("unmatched") == ""
    assert "have a match or a suggestion already" in typed(*by_hand, "--reason", "again", code=2)


def test_a_link_keeps_what_is_not_said_again(desk: Desk, typed: Typist) -> None:
    month = right_month()
    desk.pay(month.payments)
    typed.take(month)
    link = ("link", "--source", "bank", "--account", BANK)
    rules = [{"name": "Same amount", "days": 2}]
    typed(*link, "--starts-on", "2026-01-05", "--rules", typed.file("rules.json", rules))
    assert typed(*link) == f"{NAME} is already version 1.\n"
    typed("match")
    assert typed(*link, "--rules", typed.file("rules.json", [])) == f"{NAME} is saved as version 2.\n"
    assert (desk.account().starts_on, desk.account().raw_rules) == (date(2026, 1, 5), [])
    desk.world.account("clearing:other", currency_code="USD")
    assert "is in USD" in typed("link", "--source", "bank", "--account", "clearing:other", code=2)
    assert "account_id cannot change" in typed("link", "--source", "bank", "--account", "customer:1", code=2)
    assert "starts_on cannot change" in typed(*link, "--starts-on", "2026-01-06", code=2)


def test_rules_are_tried_and_nothing_is_stored(desk: Desk, typed: Typist) -> None:
    desk.pay([Movement("a-1", DAY, 500, "customer:1")])
    linked(typed, Month(lines=[Stated("1", DAY, 500, "", "one")]), [])
    rules = typed.file("trial.json", [{"name": "Same amount", "days": 2}])
    told = typed("match", "--trial", rules)
    assert "1 matched, 0 suggested\n  1 by 'Same amount'\n  a trial: nothing was stored; 0 of these" in told
    assert "never matched" in typed("status", code=1)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "is no JSON"),
        ("{}", "must hold a list"),
        ([{"name": ""}], "needs a name"),
        ([7], "must be an object"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused(typed: Typist, content: object, cause: str) -> None:
    linked(typed, right_month(), [])
    rules = typed.file("trial.json", content)
    assert cause in typed("match", "--trial", rules, code=2)
    assert cause in typed("link", "--source", "bank", "--account", BANK, "--rules", rules, code=2)


def test_before_anything_is_linked_every_action_says_so(typed: Typist) -> None:
    nothing = "No statement account is linked; see statements link.\n"
    for action in (("match",), ("unmatched",), ("sign-off",), ("reopen", "--reason", "x")):
        assert typed(*action, code=2) == nothing
    assert typed("link") == ""
    assert typed("link", "--source", "bank", "--account", BANK, code=2) == (
        "no statement of the source 'bank' was imported. Nothing was saved.\n"
    )


def test_a_name_that_nobody_knows_is_not_taken_for_nothing_to_do(typed: Typist) -> None:
    linked(typed, right_month(), [])
    for name, said in (
        (("--source", "bnak"), "the source 'bnak'"),
        (("--source", "bank", "--ref", "DE002"), "the source 'bank' and the account 'DE002'"),
        (("--currency", "usd"), "the currency USD"),
    ):
        for action in (("match",), ("unmatched",), ("sign-off",), ("reopen", "--reason", "x")):
            assert typed(*action, *name, code=2) == f"No statement account of {said} is linked; see statements link.\n"
    assert typed("list", "--source", "bnak", code=2) == "There is no source 'bnak'.\n"
    for half in (("--account", BANK), ("--source", "bank")):
        assert typed("link", *half, code=2).startswith("say with --source which source it is, and with --account ")
    assert "no account" in typed("link", "--source", "bank", "--account", "nobody", code=2).lower()


def test_of_several_accounts_one_must_be_named(desk: Desk, typed: Typist) -> None:
    month = right_month()
    desk.pay(month.payments)
    for source in ("one", "two"):
        typed.take(month, source)
        desk.world.account(f"clearing:{source}")
        typed("link", "--source", source, "--account", BANK if source == "one" else "clearing:two")
    both = "one DE001 EUR = clearing:bank, two DE001 EUR = clearing:two"
    named = f"Name one with --source, --ref and --currency: {both}.\n"
    assert typed("sign-off", "--through", "2026-01-31", code=2) == named
    assert typed("sign-off", "--source", "one", "--sign", code=2).startswith("Say with --through which day")
    typed("match", code=1)
    typed("sign-off", "--source", "one", "--through", "2026-01-31", "--sign")
    # What is reopened is the only one that is signed off.
    assert typed("reopen", "--source", "two", "--reason", "x", code=2) == "Nothing is signed off.\n"
    assert typed("reopen", "--reason", "x") == "2026-01-01 to 2026-01-31, version 1, is open again.\n"


def test_where_the_bank_states_no_balance_the_preview_asks_for_a_remark(desk: Desk, typed: Typist) -> None:
    desk.pay([Movement("a-1", DAY, 500, "customer:1")])
    options = {"columns": {"booked_on": "Date", "amount": "Amount", "text": "Text"}, "currency": "EUR"}
    typed("sources", "bank", "--options", typed.file("options.json", options))
    typed("import", typed.file("bank.csv", "Date,Amount,Text\n2026-01-10,5.00,a-1\n"), "--source", "bank")
    typed("link", "--source", "bank", "--account", BANK)
    typed("match")
    through = ("sign-off", "--source", "bank", "--through", "2026-01-10")
    assert "say in a remark what the opening balance rests on" in typed(*through, code=1)
    assert "say in a remark" in typed(*through, "--sign", code=2)
    assert "Signed off as version 1, " in typed(*through, "--sign", "--remark", "the bank's letter")


def test_a_wrong_format_of_the_first_import_is_no_lasting_mistake(typed: Typist) -> None:
    write, _ = FILES["mt940"]
    file = typed.file("bank.sta", write(right_month()))
    assert "Nothing was stored." in typed("import", file, "--source", "bank", "--format", "camt", code=2)
    typed("import", file, "--source", "bank", "--format", "mt940")
    assert "is of the format mt940" in typed("import", file, "--source", "bank", "--format", "camt", code=2)


# Fetching


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    with served() as (address, recorded):
        monkeypatch.setenv("HOLDFAST_STRIPE_URL", address)
        monkeypatch.setenv("HOLDFAST_STRIPE_KEY", KEY)
        yield recorded


def test_what_is_new_at_stripe_is_fetched_and_what_is_known_adds_nothing(typed: Typist, recorded: Recorded) -> None:
    first = typed("fetch")
    assert "501 added + 0 known + 0 with an id of another line = 501 lines; 0 refused" in first
    assert "1 payout is explained by its lines" in first
    assert "Stored as import 1." in first
    recorded.transactions.append(transaction("new", 500, 10, day=7))
    assert "2 added + 5 known" in typed("fetch")
    assert recorded.asked[-1]["created[gte]"] == str(DAY_S + 4 * 86_400), "two days before the newest line"
    assert "was imported before, as import 2. Nothing has changed." in typed("fetch")
    assert "0 added + 503 known" in typed("fetch", "--since", "2000-01-01")
    assert typed("fetch", "--since", "2030-01-01") == "Stripe has nothing new since 2030-01-01T00:00:00.000Z.\n"
    assert "501" in typed("list", "--source", "stripe")


def test_what_cannot_be_fetched_ends_with_2(typed: Typist, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    typed.take(right_month())
    assert (
        typed("fetch", "--source", "bank", code=2) == "the source 'bank' is of the format camt. Nothing was stored.\n"
    )
    monkeypatch.setenv("HOLDFAST_STRIPE_KEY", "rk_test_other")
    assert "This key may not read this." in typed("fetch", code=2)
    monkeypatch.delenv("HOLDFAST_STRIPE_KEY")
    assert typed("fetch", code=2).startswith("HOLDFAST_STRIPE_KEY is not set")
    assert recorded.asked == []
