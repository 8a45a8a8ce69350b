"""`replay`: a file of bank movements, against an independent model that plays it one by one."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.movements import COLUMNS, REAL_FILE, Row, read, synthetic, written
from tests.patience import COMMAND_S, until
from tests.system.harness import System


@dataclass
class Model:
    """What must come out, one movement after the other."""

    floor: int | None
    balances: dict[str, int] = field(default_factory=dict)
    posted: int = 0
    refused: set[str] = field(default_factory=set)

    def play(self, rows: Sequence[Row]) -> "Model":
        for row in rows:
            amount = int(row["amount_minor"]) * (1 if row["direction"] == "credit" else -1)
            after = self.balances.setdefault(row["account_id"], 0) + amount
            if amount < 0 and self.floor is not None and after < self.floor:
                self.refused.add(row["transaction_id"])
            else:
                self.balances[row["account_id"]] = after
                self.posted += 1
        return self


def assert_ledger_follows(system: System, rows: Sequence[Row], model: Model) -> None:
    """The customers' balances are the model's, and each movement is in the ledger once, or not at all."""
    accounts = [f"customer:{account_id}" for account_id in model.balances]
    found = dict(
        system.sql("SELECT account_id, balance_minor FROM account_balance WHERE account_id = ANY(%s)", accounts)
    )
    assert found == {f"customer:{account_id}": balance for account_id, balance in model.balances.items()}
    ids = [row["transaction_id"] for row in rows]
    posted = [
        row[0] for row in system.sql("SELECT external_id FROM ledger_transaction WHERE external_id = ANY(%s)", ids)
    ]
    assert len(posted) == len(set(posted)) == model.posted
    assert set(ids) - set(posted) == model.refused


def figures(output: str) -> tuple[int, int]:
    """What the replay says: transactions of the file in the ledger, and movements refused for lack of funds."""
    found = re.search(r"([\d,]+) transactions of the file are in the ledger", output)
    assert found, output
    return number(found[1]), sum(map(number, re.findall(r"([\d,]+) refused: insufficient_funds", output)))


def sum_of(output: str) -> tuple[int, int, int]:
    """How many movements were posted, repeated and refused; they add up to all of them."""
    found = re.search(r"([\d,]+) posted \+ ([\d,]+) repeated \+ ([\d,]+) refused = ([\d,]+) movements", output)
    assert found, output
    posted, repeated, refused, movements = map(number, found.groups())
    assert posted + repeated + refused == movements
    return posted, repeated, refused


def number(text: str) -> int:
    return int(text.replace(",", ""))


def chain_lengths(system: System) -> list[tuple[object, ...]]:
    return system.sql("SELECT partition, chain_seq, chain_hash FROM partition ORDER BY partition")


@pytest.mark.parametrize(("option", "floor"), [("zero", 0), ("none", None)])
def test_a_file_ends_as_if_played_one_by_one_and_a_second_run_changes_nothing(
    system: System, tmp_path: Path, option: str, floor: int | None
) -> None:
    rows = synthetic(f"model-{option}", 1_500, 60)
    path = written(tmp_path / "movements.csv", rows)
    model = Model(floor).play(rows)
    first = system.run("replay", str(path), "--currency", "EUR", "--floor", option, check=0)
    assert figures(first.stdout) == (model.posted, len(model.refused))
    assert sum_of(first.stdout) == (model.posted, 0, len(model.refused))
    assert (len(model.refused) > 0) == (floor is not None)
    assert "No break is open." in first.stdout
    assert re.search(r"[\d,]+ a second", first.stdout)
    assert_ledger_follows(system, rows, model)
    before = chain_lengths(system)
    second = system.run("replay", str(path), "--currency", "EUR", "--floor", option, check=0)
    assert figures(second.stdout) == (model.posted, len(model.refused))
    assert sum_of(second.stdout) == (0, model.posted, len(model.refused))
    assert chain_lengths(system) == before
    assert_ledger_follows(system, rows, model)
    system.prove()


@pytest.mark.parametrize("victim", ["a worker", "the replay itself"])
def test_a_kill_in_the_middle_changes_nothing_about_the_end(system: System, tmp_path: Path, victim: str) -> None:
    prefix = f"killed-{victim.replace(' ', '-')}"
    rows = synthetic(prefix, 3_000, 40)
    path = written(tmp_path / "movements.csv", rows)
    model = Model(0).play(rows)
    replay = system.begin("replay", str(path), "--currency", "EUR", "--floor", "zero")
    before = posted_so_far(system)
    until(lambda: posted_so_far(system) > before + 100 or ended(replay))
    assert replay.poll() is None, replay.communicate()[0]
    if victim == "a worker":
        for worker in system.named("workers.drain"):
            worker.kill()
    else:
        replay.kill()
        replay.communicate()
        replay = system.begin("replay", str(path), "--currency", "EUR", "--floor", "zero")
    output, _ = replay.communicate(timeout=COMMAND_S)
    assert replay.returncode == 0, output
    assert figures(output) == (model.posted, len(model.refused))
    assert sum(sum_of(output)) == len(rows)
    assert_ledger_follows(system, rows, model)
    system.prove()


def posted_so_far(system: System) -> int:
    """All postings there are: the chains have no gaps."""
    [(count,)] = system.sql("SELECT sum(chain_seq) FROM partition")
    return int(count)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1,1,1993-01-01,credit,,0,,,", "amount_minor"),
        ("1,1,1993-01-01,credit,,-5,,,", "amount_minor"),
        ("1,1,1993-01-01,credit,,1.5,,,", "amount_minor"),
        ("1,1,1993-01-01,credit,,NaN,,,", "amount_minor"),
        ("1,1,1993-01-01,sideways,,5,,,", "direction"),
        ("1,1,yesterday,credit,,5,,,", "date"),
        ("1,,1993-01-01,credit,,5,,,", "account_id"),
        (",1,1993-01-01,credit,,5,,,", "transaction_id"),
        ("1,1,1993-01-01,credit,,1,000,,,", "10 values"),
        ("1,1,2999-01-01,credit,,5,,,", "future"),
        ('1,1,1993-01-01,credit,,5,"rent,,', "quote"),
    ],
)
def test_a_file_with_a_wrong_line_is_refused_whole_and_the_line_is_named(
    system: System, tmp_path: Path, line: str, complaint: str
) -> None:
    path = tmp_path / "movements.csv"
    path.write_text(",".join(COLUMNS) + "\nok-1,wrong-file,1993-01-01,credit,,5,,,\n" + line + "\n")
    done = system.run("replay", str(path))
    assert done.returncode == 2
    assert "line 3" in done.stderr
    assert complaint in done.stderr
    assert system.sql("SELECT 1 FROM account WHERE account_id = 'customer:wrong-file'") == []


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        ("transaction_id;account_id;date;direction;amount_minor\n1;1;1993-01-01;credit;5\n", "a comma is expected"),
        ("transaction_id,account_id,date,direction,amount_minor,date\n", "date more than once"),
        ("transaction_id,account_id,date,direction,amount_minor\n".encode("utf-16"), "UTF-16"),
        ("transaction_id,account_id,date,direction,amount_minor\nü,1,1993-01-01,credit,5\n".encode("cp1252"), "line 2"),
        ("", "empty"),
    ],
)
def test_a_file_in_another_form_is_refused_whole(system: System, tmp_path: Path, raw: str | bytes, cause: str) -> None:
    path = tmp_path / "movements.csv"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    done = system.run("replay", str(path), check=2)
    assert cause in done.stderr
    assert "Nothing was sent" in done.stderr


def test_repeated_and_reused_ids_are_told_apart_and_every_movement_is_counted(system: System, tmp_path: Path) -> None:
    columns = "transaction_id,account_id,date,direction,amount_minor,purpose"
    lines = [
        "twice-1,twice,1993-01-01,credit,500,",
        "twice-1,twice,1993-01-01,credit,500,",
        'twice-2,twice,1993-01-02T01:30:00+02:00,credit,70,"two\r\nlines"',
        "twice-1,twice,1993-01-01,debit,500,",
        "twice-3,twice,1993-01-03,debit,10000,",
        "twice-3,twice,1993-01-03,debit,10000,",
        "",
        "twice-2,other,1993-01-03,credit,9,",
    ]
    path = tmp_path / "movements.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([columns, *lines]).encode())
    for posted, repeated in ((2, 1), (0, 3)):
        done = system.run("replay", str(path), "--currency", "EUR", check=1)
        assert sum_of(done.stdout) == (posted, repeated, 4)
        assert figures(done.stdout) == (2, 2)
        assert re.search(r"\b2 refused: external_id_reused", done.stdout)
        for line in (6, 10):
            assert f"line {line}: external_id_reused: " in done.stderr
        assert "No break is open." in done.stdout
    assert system.sql("SELECT balance_minor FROM account_balance WHERE account_id = 'customer:twice'") == [(570,)]
    assert system.sql(
        "SELECT (effective_at AT TIME ZONE 'UTC')::text FROM ledger_transaction WHERE external_id = 'twice-2'"
    ) == [("1993-01-01 23:30:00",)]


def test_what_the_ledger_has_under_an_id_for_another_payment_does_not_count(system: System, tmp_path: Path) -> None:
    columns = "transaction_id,account_id,date,direction,amount_minor\n"
    path = tmp_path / "movements.csv"
    path.write_text(columns + "taken-1,taken,1993-01-01,credit,5\ntaken-2,taken,1993-01-01,credit,6\n")
    system.run("replay", str(path), "--currency", "EUR", check=0)
    path.write_text(columns + "taken-1,taken,1993-01-01,credit,55\ntaken-2,taken,1993-01-01,credit,6\n")
    done = system.run("replay", str(path), "--currency", "EUR", check=1)
    assert sum_of(done.stdout) == (0, 1, 1)
    assert figures(done.stdout) == (1, 0)
    assert "line 2: external_id_reused: " in done.stderr


def test_a_movement_on_a_frozen_account_is_refused_for_content(system: System, tmp_path: Path) -> None:
    columns = "transaction_id,account_id,date,direction,amount_minor\n"
    path = tmp_path / "movements.csv"
    path.write_text(columns + "ice-1,ice,1993-01-01,credit,5\n")
    system.run("replay", str(path), "--currency", "EUR", check=0)
    system.client().request("PATCH", "/v1/accounts/customer:ice", {"status": "frozen", "reason": "a test"})
    path.write_text(columns + "ice-1,ice,1993-01-01,credit,5\nice-2,ice,1993-01-02,debit,5\n")
    done = system.run("replay", str(path), "--currency", "EUR", check=1)
    assert sum_of(done.stdout) == (0, 1, 1)
    assert "line 3: account_frozen: " in done.stderr


@pytest.fixture(scope="module")
def fresh_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own: the same customers with other floors."""
    system = System(tmp_path_factory.mktemp("zero-floors"))
    try:
        yield system.start()
    finally:
        system.stop()


@pytest.mark.skipif(not REAL_FILE.exists(), reason=f"the real movements are not here ({REAL_FILE.name})")
class TestTheMovementsOf1993:
    def test_a_replay_without_floors_survives_workers_killed_in_the_middle(self, system: System) -> None:
        rows = read(REAL_FILE)
        start = posted_so_far(system)
        replay = system.begin("replay", str(REAL_FILE), "--currency", "EUR", "--floor", "none")
        for threshold in (3_000, 9_000):
            until(lambda count=start + threshold: posted_so_far(system) > count or ended(replay))
            assert replay.poll() is None, replay.communicate()[0]
            for worker in system.named("workers.drain"):
                worker.kill()
        output, _ = replay.communicate(timeout=COMMAND_S)
        assert replay.returncode == 0, output
        assert figures(output) == (28_205, 0)
        assert sum_of(output) == (28_205, 0, 0)
        assert_ledger_follows(system, rows, Model(None).play(rows))
        assert total(system, rows) == 3_657_594_610
        before = chain_lengths(system)
        again = system.run("replay", str(REAL_FILE), "--currency", "EUR", "--floor", "none", check=0)
        assert figures(again.stdout) == (28_205, 0)
        assert sum_of(again.stdout) == (0, 28_205, 0)
        assert chain_lengths(system) == before

    def test_with_zero_floors_fourteen_are_refused(self, fresh_system: System) -> None:
        rows = read(REAL_FILE)
        done = fresh_system.run("replay", str(REAL_FILE), "--currency", "EUR", "--floor", "zero", check=0)
        assert figures(done.stdout) == (28_191, 14)
        assert sum_of(done.stdout) == (28_191, 0, 14)
        assert_ledger_follows(fresh_system, rows, Model(0).play(rows))
        assert total(fresh_system, rows) == 3_707_160_310
        fresh_system.prove()


def ended(process: "subprocess.Popen[str]") -> bool:
    return process.poll() is not None


def total(system: System, rows: Sequence[Row]) -> int:
    accounts = [f"customer:{row['account_id']}" for row in rows]
    [(found,)] = system.sql("SELECT sum(balance_minor) FROM account_balance WHERE account_id = ANY(%s)", accounts)
    return int(found)
