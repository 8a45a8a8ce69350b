"""A history that was rewritten with everything made to fit is convicted by heads that somebody kept before."""

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from app.domain.errors import HistoryRewritten, SigningKeyUnusable
from app.heads_files import write_lines
from app.ledger.engine import owner_engine, rows_of
from app.services.proofs import signed_heads
from app.services.proofs.chain_verification import AT_ONCE
from app.services.proofs.signed_heads import HeadSigner
from app.signing import make_key, read_key
from app.wiring.evidence import build_head_export, build_head_signer, head_signer
from app.wiring.workers import build_verifier
from tests.api.world import assert_problem
from tests.evidence.world import Auditor, EvidenceWorld, chain_of, chain_of_account, doubled, sizes_in
from tests.world import StepClock
from tools import verify_evidence

ALICES = "wallet:alice"


def paid(world: EvidenceWorld, count: int) -> list[str]:
    """Payments of Alice, all posted; their ids."""
    made = [world.pay(ALICES, "shop", 10).get_json()["payment_id"] for _ in range(count)]
    world.drained()
    return made


@pytest.fixture
def busy(world: EvidenceWorld) -> EvidenceWorld:
    """Alice with money, and a shop."""
    world.funded(ALICES, 1_000_000)
    world.account("shop")
    return world


def test_a_rewritten_history_holds_by_itself_and_is_convicted_by_a_kept_head(
    busy: EvidenceWorld, auditor: Auditor
) -> None:
    payments = paid(busy, 5)
    kept = busy.export(auditor.directory / "last-year.jsonl")
    size = sizes_in(kept)[chain_of(payments[0])]
    later = paid(busy, 3)
    busy.rewrite(doubled(payments[1]), partition=chain_of(payments[1]))
    assert build_verifier(busy.settings).run().breaks == [], "the database agrees with itself"
    now = busy.export(auditor.directory / "now.jsonl")

    for payment_id in (payments[1], later[0]):
        packet = auditor.keep(busy.of_payment(payment_id, kept_size=size))
        auditor.holds("packet", packet, "--head", now)
        assert "rewritten" in auditor.refutes("packet", packet, "--head", kept)
        assert "rewritten" in auditor.refutes("packet", packet, "--head", now, "--head", kept)
    without = auditor.keep(busy.of_payment(payments[1]))
    assert auditor.verify("packet", without, "--head", kept)[0] == 2, "there is no proof that leads to the kept head"

    proof = busy.prove(auditor.directory / "proof.jsonl", now, kept)
    said = auditor.refutes("heads", kept, now, "--proof", proof)
    assert f"chain {chain_of(payments[1])} was rewritten from the beginning on: transactions 1 to {size}" in said
    assert "rewritten" in auditor.refutes("packet", without, "--head", kept, "--proof", proof)


def test_an_untouched_history_holds_with_a_kept_head(busy: EvidenceWorld, auditor: Auditor) -> None:
    payments = paid(busy, 5)
    kept = busy.export(auditor.directory / "last-year.jsonl")
    paid(busy, 300)
    now = busy.export(auditor.directory / "now.jsonl")
    proof = busy.prove(auditor.directory / "proof.jsonl", now, kept)
    auditor.holds("heads", kept, now, "--proof", proof)
    packet = auditor.keep(busy.of_payment(payments[2]))
    assert auditor.holds("packet", packet, "--head", kept, "--head", now, "--proof", proof).count("which was kept") == 2
    assert auditor.verify("heads", kept, now)[0] == 2, "without the proof nothing is proved"


def test_a_cut_chain_is_convicted(busy: EvidenceWorld, auditor: Auditor) -> None:
    paid(busy, 5)
    kept = busy.export(auditor.directory / "last-year.jsonl")
    chain = chain_of_account(ALICES)
    last = sizes_in(kept)[chain]
    of_last = f"WHERE partition = {chain} AND chain_seq = {last}"
    busy.tamper(
        f"UPDATE partition SET chain_seq = {last - 1}, chain_hash = (SELECT previous_hash FROM ledger_transaction "
        f"{of_last}) WHERE partition = {chain}"
    )
    busy.rewrite(f"DELETE FROM entry {of_last}", f"DELETE FROM ledger_transaction {of_last}", partition=chain)
    now = busy.export(auditor.directory / "now.jsonl")
    proof = busy.prove(auditor.directory / "proof.jsonl", now, kept)
    assert f"chain {chain} was cut" in auditor.refutes("heads", kept, now, "--proof", proof)


MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
REWRITTEN = "2025-07"


def test_an_auditors_year_one_month_is_rewritten_found_and_named(busy: EvidenceWorld, auditor: Auditor) -> None:
    kept, payments = {}, {}
    for month in MONTHS:
        payments[month] = paid(busy, 25)
        kept[month] = busy.export(auditor.directory / f"heads-{month}.jsonl")
    chain = chain_of_account(ALICES)
    honest = busy.export(auditor.directory / "december.jsonl")
    proof = busy.prove(auditor.directory / "proof.jsonl", honest, *kept.values())
    auditor.holds("heads", *kept.values(), honest, "--proof", proof)

    busy.rewrite(doubled(payments[REWRITTEN][12]), partition=chain)
    now = busy.export(auditor.directory / "now.jsonl")
    proof = busy.prove(auditor.directory / "proof.jsonl", now, *kept.values())
    said = auditor.refutes("heads", *kept.values(), now, "--proof", proof)

    before, after = kept["2025-06"], kept[REWRITTEN]
    begin, end = sizes_in(before)[chain] + 1, sizes_in(after)[chain]
    assert f"chain {chain} was rewritten after the head of {signed_at(before)}" in said
    assert f"transactions {begin} to {end} are not those of the head that was kept of {signed_at(after)}" in said
    assert said.count("was rewritten") == 1, "the other chains are as they were"
    unharmed = busy.prove(auditor.directory / "unharmed.jsonl", now, before)
    auditor.holds("heads", before, now, "--proof", unharmed)


def signed_at(heads: Path) -> str:
    """When the heads of a file were signed."""
    return str(json.loads(heads.read_text().splitlines()[-1])["signed_at"])


# What the ledger itself notices


def test_no_head_is_signed_over_a_history_that_its_last_head_does_not_know(
    busy: EvidenceWorld, auditor: Auditor
) -> None:
    payments = paid(busy, 3)
    busy.signer.sign_all()
    busy.rewrite(doubled(payments[1]), partition=chain_of(payments[1]), forgets_heads=False)
    new = paid(busy, 1)
    with pytest.raises(HistoryRewritten, match="is not what it was when its head"):
        busy.signer.sign_all()
    assert_problem(busy.get(f"/v1/payments/{new[0]}/evidence"), 500, "internal_error", retryable=True)
    found = build_verifier(busy.settings).run().breaks
    assert {one.kind.value for one in found} == {"signed_head"}
    assert {one.subject.partition("/")[0] for one in found} == {str(chain_of(new[0]))}


def test_a_planted_node_of_the_tree_is_refused_and_a_changed_one_is_found(busy: EvidenceWorld) -> None:
    paid(busy, 300)
    busy.signer.sign_all()
    chain = chain_of_account(ALICES)
    assert busy.sql("SELECT level, number FROM merkle_subtree WHERE partition = %s", chain) == [(8, 0)]
    with pytest.raises(Exception, match="has another root, or is not complete"):
        busy.sql("INSERT INTO merkle_subtree VALUES (%s, 8, 1, sha256('x'))", chain)
    busy.tamper(f"UPDATE merkle_subtree SET hash = sha256(hash) WHERE partition = {chain}")
    found = {one.kind.value: one.subject for one in build_verifier(busy.settings).run().breaks}
    assert found["merkle_subtree"] == f"{chain}/256"


def test_a_tree_grows_by_its_kept_nodes_and_proves_the_same(busy: EvidenceWorld, auditor: Auditor) -> None:
    """Past one tile: the proofs lead through a root that the ledger keeps."""
    payments = paid(busy, 260)
    kept = busy.export(auditor.directory / "kept.jsonl")
    for payment_id in (payments[0], payments[-1]):
        auditor.holds("packet", auditor.keep(busy.of_payment(payment_id)), "--head", kept)


# Keys


def rotated(world: EvidenceWorld, path: Path) -> HeadSigner:
    """Introduce a new key in a file of its own; the signer of processes that start with it."""
    make_key(path)
    world.signer.introduce(read_key(path))
    return build_head_signer(world.with_settings(signing_key_file=path).settings)


def test_a_new_key_is_endorsed_by_the_old_one_and_both_sign_meanwhile(
    busy: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    payments = paid(busy, 2)
    kept = busy.export(auditor.directory / "kept.jsonl")
    old = busy.signer.key().key_id
    new = rotated(busy, tmp_path / "second")
    assert busy.signer.key().key_id == old
    other = busy.with_settings(signing_key_file=tmp_path / "second")
    paid(busy, 1)
    size = sizes_in(kept)[chain_of(payments[0])]

    for world in (busy, other):
        packet = world.of_payment(payments[0], kept_size=size)
        auditor.holds("packet", auditor.keep(packet), "--head", kept)
        auditor.holds("packet", auditor.keep(packet), "--head", kept, "--key", old)
    assert new.key().key_id != old
    now = other.export(auditor.directory / "now.jsonl")
    proof = busy.prove(auditor.directory / "proof.jsonl", now, kept)
    auditor.holds("heads", kept, now, "--proof", proof)
    both = {row[0] for row in busy.sql("SELECT key_id FROM signed_head WHERE partition = %s", chain_of(payments[0]))}
    assert both == {old, new.key().key_id}


def test_a_key_that_nobody_endorsed_signs_nothing_that_is_believed(
    busy: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    payments = paid(busy, 2)
    kept = busy.export(auditor.directory / "kept.jsonl")
    make_key(tmp_path / "strange")
    strange = read_key(tmp_path / "strange")
    with pytest.raises(SigningKeyUnusable, match="none of this ledger's"):
        build_head_signer(busy.with_settings(signing_key_file=tmp_path / "strange").settings).key()
    forged = (
        "INSERT INTO signing_key VALUES (%s, %s, now(), NULL, %s)",
        (strange.key_id, strange.public_key, bytes(64)),
    )
    with psycopg.connect(busy.settings.database_url) as app:
        with pytest.raises(psycopg.Error, match="is not endorsed by an older one"):
            app.execute(*forged)
        app.rollback()

    packet = busy.of_payment(payments[0])
    for document in (packet["chain"]["head"], packet):
        document["key_id"] = strange.key_id
        document["signature"] = strange.sign(verify_evidence.signed_text(document)).hex()
    assert "no trusted key" in auditor.refutes("packet", auditor.keep(packet), "--head", kept)

    [key] = packet["keys"]
    own = {**key, "key_id": strange.key_id, "public_key": strange.public_key.hex(), "endorsed_by": None}
    own["signature"] = strange.sign(verify_evidence.signed_text(own)).hex()
    turned = {**key, "endorsed_by": strange.key_id}
    turned["signature"] = strange.sign(verify_evidence.signed_text(turned)).hex()
    for keys in ([key, own], [own], [own, turned]):
        packet["keys"] = keys
        packet["signature"] = strange.sign(verify_evidence.signed_text(packet)).hex()
        auditor.refutes("packet", auditor.keep(packet), "--head", kept)


def test_a_lost_key_is_not_silently_replaced(busy: EvidenceWorld, tmp_path: Path) -> None:
    paid(busy, 1)
    busy.signer.sign_all()
    other = build_head_signer(busy.with_settings(signing_key_file=tmp_path / "missing").settings)
    with pytest.raises(SigningKeyUnusable, match="cannot be read"):
        other.sign_all()
    assert not (tmp_path / "missing").exists()


def test_a_lost_key_is_replaced_by_the_owner_and_the_auditor_is_told(
    busy: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    payments = paid(busy, 3)
    kept = busy.export(auditor.directory / "kept.jsonl")
    old = busy.signer.key().key_id
    make_key(tmp_path / "new")
    other = busy.with_settings(signing_key_file=tmp_path / "new")
    owner = head_signer(other.settings, rows_of(owner_engine(other.settings.owner_database_url)))
    new = owner.introduce_unendorsed(read_key(tmp_path / "new")).key_id

    packet = auditor.keep(other.of_payment(payments[0], kept_size=sizes_in(kept)[chain_of(payments[0])]))
    assert "no trusted key" in auditor.refutes("packet", packet, "--head", kept)
    auditor.holds("packet", packet, "--head", kept, "--key", old, "--key", new)
    busy.rewrite(doubled(payments[0]), partition=chain_of(payments[0]))
    packet = auditor.keep(other.of_payment(payments[0], kept_size=sizes_in(kept)[chain_of(payments[0])]))
    assert "rewritten" in auditor.refutes("packet", packet, "--head", kept, "--key", old, "--key", new)


def test_the_proof_between_two_heads_is_answered_too(busy: EvidenceWorld, auditor: Auditor) -> None:
    paid(busy, 3)
    kept = busy.export(auditor.directory / "kept.jsonl")
    paid(busy, 4)
    now = busy.export(auditor.directory / "now.jsonl")
    proofs = []
    for chain, size in sizes_in(kept).items():
        query = {"partition": chain, "from_size": size, "to_size": sizes_in(now)[chain]}
        response = busy.get("/v1/heads/consistency", query_string=query)
        assert response.status_code == 200, response.text
        proofs.append(response.get_json())
    write_lines(auditor.directory / "proof.jsonl", proofs)
    auditor.holds("heads", kept, now, "--proof", auditor.directory / "proof.jsonl")
    assert len(busy.get("/v1/heads").get_json()["data"]) == len(proofs)
    too_long = f"/v1/heads/consistency?partition={chain_of_account(ALICES)}&from_size=1&to_size=999"
    assert_problem(busy.get(too_long), 400, "malformed_request")


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(mode)
    with pytest.raises(SigningKeyUnusable, match="others have access"):
        read_key(tmp_path / "key")


# Heads that are false


def test_a_changed_head_is_convicted(busy: EvidenceWorld, auditor: Auditor) -> None:
    paid(busy, 3)
    kept = busy.export(auditor.directory / "kept.jsonl")
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    chain = chain_of_account(ALICES)
    [head] = [line for line in lines if line.get("partition") == chain]
    head["merkle_root"] = "00" * 32
    changed = auditor.directory / "changed.jsonl"
    changed.write_text("\n".join(map(json.dumps, lines)))
    assert "false signature" in auditor.refutes("heads", changed)
    auditor.holds("heads", kept)


HEAD = {
    "format": "holdfast-head/1", "ledger_id": "x", "partition": 0, "chain_seq": 1, "chain_hash": "ab" * 32,
    "merkle_root": "ab" * 32, "signed_at": "2026-01-01T00:00:00.000Z", "key_id": "x", "signature": "ab" * 64,
}  # fmt: skip
KEY = {
    "format": "holdfast-key/1", "ledger_id": "x", "key_id": "x", "public_key": "ab" * 32,
    "introduced_at": "2026-01-01T00:00:00.000Z", "endorsed_by": "y", "signature": "ab" * 64,
}  # fmt: skip
UNREADABLE = ["", "x", "[]", "{}", "[" * 100_000, '{"partition": 0, "chain_seq": 1, "chain_hash": "ab"}']
UNREADABLE += [json.dumps(HEAD | {name: wrong}) for name in HEAD for wrong in (None, [], 1.5)]
UNREADABLE += [json.dumps(KEY | {name: wrong}) for name in KEY for wrong in ([], 1.5) if name != "introduced_at"]


@pytest.mark.parametrize("content", UNREADABLE)
def test_heads_that_cannot_be_read_prove_nothing(auditor: Auditor, content: str) -> None:
    path = auditor.keep(content, "heads.jsonl")
    with pytest.raises(verify_evidence.Unproven):
        verify_evidence.verify([path], [])
    with pytest.raises(verify_evidence.Unproven):
        verify_evidence.verify([auditor.directory / "nosuch"], [])


def test_a_days_heads_are_exported_once(world: EvidenceWorld, tmp_path: Path) -> None:
    settings = world.with_settings(heads_dir=tmp_path / "heads", heads_every_s=60).settings
    clock = StepClock()
    export = build_head_export(settings, AT_ONCE, clock)
    assert len(export.run_once()) == len(world.sql("SELECT * FROM partition"))
    clock.now = 59.0
    assert export.run_once() == []
    clock.now = 60.0
    assert export.run_once() == [], "no chain has grown"
    [file] = (tmp_path / "heads").iterdir()
    assert file.name == f"heads-{datetime.now(UTC).date()}.jsonl"
    assert verify_evidence.verify([file], [])
    world.funded(ALICES, 100)
    clock.now = 120.0
    [head] = export.run_once()
    assert head.chain_seq == 1


def test_a_tree_that_is_long_behind_grows_over_several_turns_and_no_request_waits_for_it(
    busy: EvidenceWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = paid(busy, 600)
    monkeypatch.setattr(signed_heads, "NODES_A_REQUEST", 0)
    answer = busy.get(f"/v1/payments/{payments[0]}/evidence")
    assert_problem(answer, 503, "ledger_backlogged", retryable=True)
    clock = StepClock()
    settings = busy.with_settings(heads_dir=tmp_path / "heads", heads_every_s=60).settings

    def tick() -> float:
        clock.now += 25.0
        return clock.now

    export = build_head_export(settings, AT_ONCE, tick)
    chain = chain_of_account(ALICES)
    assert chain not in {head.partition for head in export.run_once()}
    assert not (tmp_path / "heads").exists()
    for _ in range(10):
        export.run_once()
    assert (tmp_path / "heads").exists()
    assert chain in {head.partition for head in busy.signer.latest()}
    assert busy.of_payment(payments[0])["chain"]["head"]["chain_seq"] >= 600
