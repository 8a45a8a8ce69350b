"""Verifying the hash chains: every row that was changed, removed or cut off is found."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.commands import proofs
from app.domain.breaks import ChainRange, RecomputedRange
from app.domain.hash_chain import GENESIS_HASH, chain_hash
from app.services.proofs import chain_verification as verify
from app.services.proofs.chain_verification import LONGEST_REST_S, REST, ChainVerifier, Leisure
from tests.services.tampering import kinds
from tests.world import StepClock, World

METADATA: list[dict[str, Any] | None] = [
    None,
    {},
    {
        "float": 0.1 + 0.2,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "negative zero": -0.0,
        "round": 1e22,
        "one": 1.0,
    },
    {"int": 2**53, "negative": -(2**63), "largest": 2**64 - 1},
    {"ü": "Zürich", "ключ": "☃", "emoji": "🪙", "quote": '"\\/\b\f\n\r\t', "line": "\u2028\u2029", "bidi": "\u202e"},
    {"deep": {"b": [1, [2, [3, {"c": None}]]], "a": {"z": True, "y": False}}, "Z": [], "A": {}},
    {"b": 1, "a": 2, "B": 3, "": 4, "aa": 5},
]


@pytest.fixture
def chained(world: World) -> World:
    """A chain of several payments in alice's partition, with every kind of content."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    for n, metadata in enumerate(METADATA):
        world.accepted("alice", "bob", 10, metadata=metadata, description=None if n % 2 else "Zürich ☃")
    world.drain()
    return world


def partition(world: World) -> int:
    return world.cache.partition_of("alice")


def last(world: World) -> int:
    [(chain_seq,)] = world.rows("SELECT chain_seq FROM partition WHERE partition = %s", partition(world))
    return int(chain_seq)


def test_a_chain_of_every_kind_of_content_verifies(chained: World) -> None:
    report = chained.verifier.run()
    assert report.breaks == []
    assert report.checked == {"transactions": len(METADATA) + 1, "entries": 2 * len(METADATA) + 2}


class Doubting:
    """A ledger whose database confirms nothing, so that the verifier recomputes every row."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def recomputed(self, part: ChainRange, previous_hash: bytes | None) -> RecomputedRange:
        return RecomputedRange(0, 0, previous_hash, 0)


def test_the_database_recomputes_every_kind_of_content_by_itself(chained: World) -> None:
    number = last(chained)
    found = chained.new_ledger_reconciliation().recomputed(ChainRange(partition(chained), 0, number, b""), GENESIS_HASH)
    [(head,)] = chained.rows("SELECT chain_hash FROM partition WHERE partition = %s", partition(chained))
    assert found == RecomputedRange(number, 2 * number, head, number)


def shuffle_links(world: World) -> None:
    """Give the third transaction another predecessor and the hash that goes with it; nothing else is wrong."""
    ledger = world.new_ledger_reconciliation()
    third = list(ledger.chain(ChainRange(partition(world), 0, last(world), b"")))[2]
    third.previous_hash = bytes(31) + b"x"
    world.tamper(
        f"UPDATE ledger_transaction SET previous_hash = '\\x{third.previous_hash.hex()}',"
        f" hash = '\\x{chain_hash(third).hex()}' WHERE partition = {partition(world)} AND chain_seq = 3"
    )


def bridge(world: World, first: int, count: int) -> None:
    """Remove some in the middle, link their successor to the one before them, and rehash all after it."""
    ledger = world.new_ledger_reconciliation()
    chain = list(ledger.chain(ChainRange(partition(world), 0, last(world), b"")))
    where = f"partition = {partition(world)} AND chain_seq"
    world.tamper(f"DELETE FROM ledger_transaction WHERE {where} BETWEEN {first} AND {first + count - 1}")
    previous = chain[first - 2].hash
    for one in chain[first + count - 1 :]:
        one.previous_hash, one.hash = previous, chain_hash(replace(one, previous_hash=previous))
        values = f"previous_hash = '\\x{previous.hex()}', hash = '\\x{one.hash.hex()}'"
        world.tamper(f"UPDATE ledger_transaction SET {values} WHERE {where} = {one.chain_seq}")
        previous = one.hash
    world.tamper(f"UPDATE partition SET chain_hash = '\\x{previous.hex()}' WHERE partition = {partition(world)}")


DAMAGE: dict[str, Any] = {
    "none": lambda world: None,
    "a text changed": "UPDATE ledger_transaction SET description = 'x' WHERE {at} = 4",
    "an amount changed": "UPDATE entry SET amount_minor = 2 * amount_minor WHERE {at} = 4",
    "entries removed": "DELETE FROM entry WHERE {at} = 4",
    "one removed": "DELETE FROM ledger_transaction WHERE {at} = 4",
    "two removed": "DELETE FROM ledger_transaction WHERE {at} IN (4, 5)",
    "the first removed": "DELETE FROM ledger_transaction WHERE {at} = 1",
    "the last removed": "DELETE FROM ledger_transaction WHERE {at} = {last}",
    "all removed": "DELETE FROM ledger_transaction WHERE {at} > 0",
    "the head changed": "UPDATE partition SET chain_hash = sha256(chain_hash) WHERE partition = {partition}",
    "a wrong link": shuffle_links,
    "a bridge over one": lambda world: bridge(world, 4, 1),
    "a bridge over two": lambda world: bridge(world, 3, 2),
}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_recomputing_in_the_database_finds_the_same_as_recomputing_each_row_in_python(
    chained: World, monkeypatch: pytest.MonkeyPatch, damage: Any, size: int
) -> None:
    monkeypatch.setattr(verify, "TRANSACTIONS_AT_ONCE", size)
    if callable(damage):
        damage(chained)
    else:
        at = f"partition = {partition(chained)} AND chain_seq"
        chained.tamper(damage.format(at=at, partition=partition(chained), last=last(chained)))
    ledger = chained.new_ledger_reconciliation()
    found = ChainVerifier(ledger, chained.clock).chains(ledger.ranges(full=True))
    by_row = ChainVerifier(Doubting(ledger), chained.clock).chains(ledger.ranges(full=True))
    assert found == by_row
    assert bool(found.breaks) == (damage is not DAMAGE["none"])


def test_the_first_run_exports_the_heads_and_each_later_one_checks_them(chained: World) -> None:
    chained.verifier.run()
    heads = [
        (p, seq, bytes(h))
        for p, seq, h in chained.rows("SELECT partition, chain_seq, chain_hash FROM chain_head_export")
    ]
    assert sorted(heads) == sorted(chained.verifier.heads())
    chained.accepted("alice", "bob", 1)
    chained.drain()
    assert chained.verifier.run().breaks == []


COLUMNS = {
    "entity_id": "'other'",
    "external_id": "'other'",
    "kind": "'journal'",
    "payment_id": "'pay_0_1_1'",
    "fingerprint": "'f'",
    "actor": "'key:other'",
    "description": "'other'",
    "metadata": "'{\"a\": 1}'",
    "accepted_at": "accepted_at + interval '1 microsecond'",
    "effective_at": "effective_at - interval '1 day'",
    "posted_at": "posted_at + interval '1 microsecond'",
    "hash": "sha256(hash)",
}


def test_a_changed_column_of_a_transaction_shows_at_its_chain_number(chained: World) -> None:
    where = f"partition = {partition(chained)} AND chain_seq = 3"
    for column, value in COLUMNS.items():
        before = chained.rows(f"SELECT {column}::text FROM ledger_transaction WHERE {where}")[0][0]
        chained.tamper(f"UPDATE ledger_transaction SET {column} = {value} WHERE {where}")
        report = chained.verifier.run()
        assert ("chain_hash", f"{partition(chained)}/3") in {(b.kind.value, b.subject) for b in report.breaks}, column
        kind = "json" if column == "metadata" else "bytea" if column == "hash" else "text"
        cast = "::timestamptz" if column.endswith("_at") else ""
        with chained.owner.transaction():
            chained.owner.execute("SET LOCAL session_replication_role = replica")
            chained.owner.execute(f"UPDATE ledger_transaction SET {column} = %s::{kind}{cast} WHERE {where}", (before,))
    assert chained.verifier.run().breaks == []


@pytest.mark.parametrize(
    "change",
    [
        "amount_minor = amount_minor * 2",
        "balance_minor = balance_minor + 1",
        "currency_code = 'USD'",
        "leg = 1 - leg",
        "entry_number = entry_number + 100",
        "account_id = account_id || 'x'",
    ],
)
def test_changed_entries_show_even_if_they_still_balance(chained: World, change: str) -> None:
    chained.tamper(f"UPDATE entry SET {change} WHERE partition = {partition(chained)} AND chain_seq = 3")
    assert "chain_hash" in kinds(chained.verifier.run().breaks)


def test_a_removed_transaction_shows(chained: World) -> None:
    chained.tamper(f"DELETE FROM ledger_transaction WHERE partition = {partition(chained)} AND chain_seq = 3")
    assert kinds(chained.verifier.run().breaks) == {"chain_link"}


def test_a_row_that_was_replaced_and_rehashed_shows_at_its_successor(chained: World) -> None:
    chained.tamper(
        f"UPDATE ledger_transaction SET description = 'x' WHERE partition = {partition(chained)} AND chain_seq = 3"
    )
    ledger = chained.new_ledger_reconciliation()
    transactions = list(ledger.chain(ChainRange(partition(chained), 0, last(chained), b"")))
    forged = chain_hash(replace(transactions[2])).hex()
    chained.tamper(
        f"UPDATE ledger_transaction SET hash = '\\x{forged}' WHERE partition = {partition(chained)} AND chain_seq = 3"
    )
    [found] = chained.verifier.run().breaks
    assert (found.kind.value, found.subject) == ("chain_link", f"{partition(chained)}/4")


def cut_tail(world: World, *, rewrite_head: bool, forget_exports: bool = False) -> None:
    """Remove the last transaction of alice's chain, and what would give that away."""
    where = f"partition = {partition(world)} AND chain_seq = {last(world)}"
    head = f"""UPDATE partition SET chain_seq = chain_seq - 1, chain_hash = (SELECT hash FROM ledger_transaction t
        WHERE t.partition = partition.partition AND t.chain_seq = partition.chain_seq - 1)
        WHERE partition = {partition(world)}"""
    statements = [f"DELETE FROM entry WHERE {where}", f"DELETE FROM ledger_transaction WHERE {where}"]
    world.tamper(*statements, *[head] * rewrite_head, *["DELETE FROM chain_head_export"] * forget_exports)


def test_a_cut_tail_shows_against_the_head(chained: World) -> None:
    cut_tail(chained, rewrite_head=False)
    assert kinds(chained.verifier.run().breaks) == {"chain_head"}


def test_a_cut_tail_with_its_head_rewritten_shows_against_the_exported_head(chained: World) -> None:
    assert chained.verifier.run().breaks == []
    head = f"{partition(chained)}/{last(chained)}"
    cut_tail(chained, rewrite_head=True)
    [found] = chained.verifier.run().breaks
    assert (found.kind.value, found.subject) == ("chain_head", head)
    assert found.figures["stored_hash"] is None


def test_a_head_kept_outside_shows_a_cut_tail_even_without_the_exports(chained: World) -> None:
    chained.verifier.run()
    outside = chained.verifier.heads()
    cut_tail(chained, rewrite_head=True, forget_exports=True)
    assert kinds(chained.verifier.run(outside).breaks) == {"chain_head"}


def test_a_forged_head_shows(chained: World) -> None:
    chained.tamper(f"UPDATE partition SET chain_hash = sha256(chain_hash) WHERE partition = {partition(chained)}")
    assert kinds(chained.verifier.run().breaks) == {"chain_head"}


def test_a_chain_longer_than_one_fetch_verifies(chained: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.ledger.hash_chain.STREAM_ROWS", 3)
    assert ChainVerifier(Doubting(chained.new_ledger_reconciliation()), chained.clock).run().breaks == []


def test_an_empty_ledger_verifies_and_exports_nothing(world: World) -> None:
    assert world.verifier.run().breaks == []
    assert world.rows("SELECT count(*) FROM chain_head_export") == [(0,)]


# Pauses


@pytest.mark.parametrize(
    ("step_s", "rest_s"),
    [
        (0.0, 0.0),
        (LONGEST_REST_S / REST / 2, LONGEST_REST_S / 2),
        (LONGEST_REST_S, LONGEST_REST_S),
        (60.0, LONGEST_REST_S),
    ],
)
def test_a_pause_follows_each_step_and_is_bounded(step_s: float, rest_s: float) -> None:
    clock, taken = StepClock(), []
    for step in Leisure(clock, clock.sleep).steps(range(3)):
        taken.append(step)
        clock.now += step_s
    assert taken == [0, 1, 2]
    assert clock.slept == [pytest.approx(rest_s)] * 3


# The heads kept outside, as the command reads them


def asked(data_dir: Path, heads: Path | None) -> Namespace:
    """What is typed after `verify`."""
    return Namespace(data_dir=data_dir, heads=heads, json=False, packet=None, consistency=None)


def verified(world: World, monkeypatch: pytest.MonkeyPatch, data_dir: Path, heads: Path | None = None) -> int:
    monkeypatch.setenv("DATABASE_URL", world.urls.database_url)
    monkeypatch.setenv("HOLDFAST_OWNER_DATABASE_URL", world.urls.owner_database_url)
    monkeypatch.setenv("REDIS_URL", world.urls.redis_url)
    return proofs.verify(asked(data_dir, heads))


A_HASH = "ab" * 32
NO_HEADS = {
    "empty": "",
    "no JSON": "partition 0",
    "not an object": "[1, 2]",
    "no hash": '{"partition": 0, "chain_seq": 1}',
    "a short hash": '{"partition": 0, "chain_seq": 1, "chain_hash": "abcd"}',
    "no hexadecimal": f'{{"partition": 0, "chain_seq": 1, "chain_hash": "{"zz" * 32}"}}',
    "a hash that is a number": '{"partition": 0, "chain_seq": 1, "chain_hash": 7}',
    "a partition that is a text": f'{{"partition": "0", "chain_seq": 1, "chain_hash": "{A_HASH}"}}',
    "a number beyond all": f'{{"partition": 0, "chain_seq": {2**63}, "chain_hash": "{A_HASH}"}}',
    "a place before the first": f'{{"partition": 0, "chain_seq": 0, "chain_hash": "{A_HASH}"}}',
    "cut off": f'{{"partition": 0, "chain_seq": 1, "chain_hash": "{A_HASH}"}}\n{{"partition": 0, "chai',
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", NO_HEADS.values(), ids=NO_HEADS)
def test_heads_that_cannot_be_read_are_an_error_and_never_a_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes
) -> None:
    path = tmp_path / "heads"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert proofs.verify(asked(tmp_path, path)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(path) in printed.err
    assert printed.err.rstrip().endswith("Nothing was verified.")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert proofs.verify(asked(tmp_path, Path("/nosuch"))) == 2
    assert "/nosuch cannot be read" in capsys.readouterr().err


def test_every_head_of_the_file_must_be_in_its_chain(
    chained: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "chain-heads.jsonl"
    assert verified(chained, monkeypatch, tmp_path) == 0, "there is no file before the first run"
    assert verified(chained, monkeypatch, tmp_path) == 0
    assert verified(chained, monkeypatch, tmp_path, heads=kept) == 0
    early = {"partition": partition(chained), "chain_seq": 2, "chain_hash": A_HASH}
    kept.write_text(f"{json.dumps(early)}\n{kept.read_text()}")
    assert verified(chained, monkeypatch, tmp_path) == 1
    assert f"{partition(chained)}/2" in capsys.readouterr().out


@pytest.mark.parametrize("unknown", [False, True])
def test_rows_that_no_head_tells_of_are_verified_and_named(chained: World, unknown: bool) -> None:
    """A head that was set back, or a partition whose row is gone, hides nothing."""
    chained.tamper(
        f"DELETE FROM reconciliation_cursor WHERE partition = {partition(chained)}",
        f"DELETE FROM partition WHERE partition = {partition(chained)}"
        if unknown
        else f"UPDATE partition SET chain_seq = 0, chain_hash = '\\x{GENESIS_HASH.hex()}'",
    )
    report = chained.verifier.run()
    assert kinds(report.breaks) == {"chain_head"}
    assert report.checked["transactions"] == len(METADATA) + 1
