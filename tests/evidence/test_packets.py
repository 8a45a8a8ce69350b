"""Evidence packets: of everything that has one, each verified by the file verifier alone."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from app.services.access.api_keys import Scope
from tests.api.world import BANK, assert_problem
from tests.evidence.world import Auditor, EvidenceWorld, chain_of, doubled
from tests.journals.world import credit, debit
from tools import verify_evidence


def test_the_packet_of_a_payment_tells_its_way_and_verifies_with_a_head(
    world: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    payment_id = world.paid("alice", "bob", 250, description="Zürich ☃", metadata={"order": 7, "ratio": 0.25})
    packet = world.of_payment(payment_id)

    subject, source, controls = packet["subject"], packet["source"], packet["controls"]
    assert (subject["kind"], subject["id"], subject["status"]) == ("payment", payment_id, "posted")
    assert source["actor"].startswith("key:")
    [call] = source["calls"]
    assert (call["action"], call["method"], call["route"]) == ("payment", "POST", "/v1/payments")
    assert (call["actor"], bool(call["request_id"])) == (source["actor"], True)
    assert source["description"] == "Zürich ☃"
    assert json.loads(source["metadata_json"]) == {"order": 7, "ratio": 0.25}
    assert controls["idempotency"]["external_id"] == subject["external_id"]
    assert controls["funds"] == [{"account_id": "alice", "balance_before_minor": 1_000, "balance_minor": 750}]
    assert {one["account_id"]: one["floor_minor"] for one in controls["limits"]} == {"alice": 0, "bob": 0}
    assert controls["outbox"]["partition"] == chain_of(payment_id)
    assert [step["state"] for step in packet["transitions"]] == ["accepted", "posted"]
    moved = [(one["account_id"], one["amount_minor"], one["balance_minor"]) for one in packet["transaction"]["entries"]]
    assert moved == [("alice", 250, 750), ("bob", -250, 250)]

    kept = world.export(tmp_path / "heads.jsonl")
    said = auditor.holds("packet", auditor.keep(packet), "--head", kept)
    assert "debit  alice: 250 EUR (minor units), balance 1000 -> 750" in said
    assert "which was kept" in said


def test_every_kind_of_subject_has_a_packet_that_verifies(
    world: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    world.funded("alice", 10_000)
    world.account("bob")
    paid = world.paid("alice", "bob", 300)
    refund = world.refund(paid, 100).get_json()["refund_id"]
    journal = world.posted(debit("alice", 5), credit(BANK, 5))["journal_id"]
    reversal = world.post(f"/v1/journals/{journal}/reversal", {"external_id": "undo", "reason": "wrong"}).get_json()
    held = {"capture": "manual"}
    captured, voided, open_one = (world.paid("alice", "bob", amount, **held) for amount in (40, 41, 42))
    assert world.post(f"/v1/payments/{captured}/capture", {"amount_minor": 30}).status_code == 200
    assert world.post(f"/v1/payments/{voided}/void").status_code == 200
    world.drained()
    kept = world.export(tmp_path / "heads.jsonl")
    pending = world.pay("alice", "bob", 7).get_json()["payment_id"]

    expected = {
        f"payments/{paid}": ("payment", "posted", ["accepted", "posted", "refunded"]),
        f"refunds/{refund}": ("refund", "posted", ["accepted", "posted"]),
        f"journals/{journal}": ("journal", "posted", ["accepted", "posted", "reversed"]),
        f"journals/{reversal['journal_id']}": ("reversal", "posted", ["accepted", "posted"]),
        f"payments/{captured}": ("authorization", "posted", ["accepted", "authorized", "captured", "posted"]),
        f"payments/{voided}": ("authorization", "voided", ["accepted", "authorized", "voided"]),
        f"payments/{open_one}": ("authorization", "authorized", ["accepted", "authorized"]),
        f"payments/{pending}": ("payment", "pending", ["accepted"]),
    }
    for path, (kind, status, states) in expected.items():
        packet = world.evidence(f"/v1/{path}/evidence")
        assert (packet["subject"]["kind"], packet["subject"]["status"]) == (kind, status), path
        assert [step["state"] for step in packet["transitions"]] == states, path
        said = auditor.holds("packet", auditor.keep(packet), "--head", kept)
        assert ("which was kept" in said) == (status == "posted"), path


def test_refusals_and_rejections_have_packets_with_the_figures_that_the_check_saw(
    world: EvidenceWorld, auditor: Auditor, tmp_path: Path
) -> None:
    world.funded("alice", 100)
    world.account("bob")
    refused = world.pay("alice", "bob", 500, external_id="too-much")
    assert_problem(refused, 422, "insufficient_funds")
    world.deposit("alice", 1, external_id="twice")
    world.drained()
    world.cache.delete(*world.cache.scan_iter("hf:*twice*"))
    rejected = world.pay("alice", "bob", 3, external_id="twice", metadata={"ratio": 0.5}).get_json()["payment_id"]
    world.drained()
    kept = world.export(tmp_path / "heads.jsonl")

    packet = world.evidence("/v1/evidence", external_id="too-much")
    assert (packet["subject"]["id"], packet["subject"]["status"]) == (None, "refused")
    assert packet["refusal"]["code"] == "insufficient_funds"
    assert packet["refusal"]["figures"]["balance_minor"] == 100
    auditor.holds("packet", auditor.keep(packet), "--head", kept)

    world.services.recorder.flush()
    world.cache.delete(*world.cache.scan_iter("hf:*too-much*"))
    from_audit = world.evidence("/v1/evidence", external_id="too-much")
    assert from_audit["refusal"]["figures"].items() >= packet["refusal"]["figures"].items()
    assert from_audit["refusal"]["code"] == "insufficient_funds"
    assert from_audit["refusal"]["detail"] == refused.get_json()["detail"]
    assert [call["status"] for call in from_audit["source"]["calls"]] == [422]

    packet = world.of_payment(rejected)
    assert (packet["subject"]["id"], packet["subject"]["status"]) == (rejected, "rejected")
    assert packet["refusal"]["code"] == "external_id_reused"
    assert (packet["transaction"], packet["source"]["metadata_json"]) == (None, '{"ratio":0.5}')
    assert [step["state"] for step in packet["transitions"]] == ["accepted", "rejected"]
    auditor.holds("packet", auditor.keep(packet), "--head", kept)


def test_a_late_repeat_answers_with_the_original_and_is_named_in_it(world: EvidenceWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    first = world.paid("alice", "bob", 5, external_id="once")
    world.cache.delete(*world.cache.scan_iter("hf:*once*"))
    again = world.paid("alice", "bob", 5, external_id="once")
    assert again != first
    packet = world.of_payment(again)
    assert packet["subject"]["id"] == first
    assert packet["controls"]["idempotency"]["repeats"] == [again]


def test_what_reconciliation_covered_it_is_told(world: EvidenceWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    payment_id = world.paid("alice", "bob", 5)
    assert world.of_payment(payment_id)["reconciliation"] == {"runs": [], "breaks": []}
    world.assert_proven()
    [run] = world.of_payment(payment_id)["reconciliation"]["runs"]
    assert (run["mode"], run["break_count"]) == ("full", 0)


@pytest.mark.parametrize("path", ["payments/pay_1_2_3", "payments/nothing", "refunds/pay_1_2_3"])
def test_what_is_not_there_has_no_packet(world: EvidenceWorld, path: str) -> None:
    assert_problem(world.get(f"/v1/{path}/evidence"), 404, "payment_not_found")


def test_what_has_no_evidence_is_named_by_what_it_was_asked_for_by(world: EvidenceWorld) -> None:
    problem = assert_problem(world.get("/v1/evidence?external_id=nobody"), 404, "payment_not_found")
    assert (problem["detail"], problem["external_id"]) == ("Nothing has the external_id 'nobody'.", "nobody")
    problem = assert_problem(world.get("/v1/refunds/ref_9/evidence"), 404, "payment_not_found")
    assert (problem["detail"], problem["refund_id"]) == ("Nothing has the refund_id 'ref_9'.", "ref_9")


def test_each_route_has_its_own_kinds(world: EvidenceWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    paid = world.paid("alice", "bob", 5)
    assert_problem(world.get(f"/v1/refunds/{paid}/evidence"), 404, "payment_not_found")
    assert_problem(world.get(f"/v1/journals/{paid}/evidence"), 404, "journal_not_found")
    assert_problem(world.get(f"/v1/payments/{paid}/evidence?kept_size=x"), 400, "malformed_request")


def test_a_key_that_may_not_read_gets_no_packet(world: EvidenceWorld) -> None:
    world.funded("alice", 100)
    world.account("bob")
    paid = world.paid("alice", "bob", 5)
    key = world.key_with(Scope.PAYMENTS_WRITE)
    assert_problem(world.get(f"/v1/payments/{paid}/evidence", key=key), 403, "forbidden")


# Tampering with the packet


@pytest.fixture
def kept(world: EvidenceWorld, auditor: Auditor) -> tuple[dict[str, Any], Path]:
    """A packet that holds, and heads that were kept."""
    world.funded("alice", 1_000)
    world.account("bob")
    for amount in (10, 20, 30):
        world.paid("alice", "bob", amount)
    packet = world.of_payment(world.paid("alice", "bob", 250, metadata={"order": "7"}))
    heads = world.export(auditor.directory / "heads.jsonl")
    auditor.holds("packet", auditor.keep(packet), "--head", heads)
    return packet, heads


CHANGES: dict[str, Any] = {
    "an amount": lambda packet: packet["transaction"]["entries"][0].update(amount_minor=251),
    "both amounts": lambda packet: [
        one.update(amount_minor=2 * one["amount_minor"]) for one in packet["transaction"]["entries"]
    ],
    "an account": lambda packet: packet["transaction"]["entries"][1].update(account_id="mallory"),
    "who": lambda packet: packet["source"].update(actor="key:another"),
    "a time": lambda packet: packet["transaction"].update(posted_at_us=packet["transaction"]["posted_at_us"] + 1),
    "the canonical form": lambda packet: packet["chain"].update(
        canonical=packet["chain"]["canonical"].replace("250", "350")
    ),
    "the hash": lambda packet: packet["chain"].update(hash="00" * 32),
    "the audit path": lambda packet: packet["chain"]["inclusion"].update(hashes=[]),
    "the root": lambda packet: packet["chain"]["head"].update(merkle_root="00" * 32),
    "the head's size": lambda packet: packet["chain"]["head"].update(chain_seq=99),
    "a transition": lambda packet: packet["transitions"].pop(),
    "a limit": lambda packet: packet["controls"]["limits"][0].update(floor_minor=-5),
    "another member": lambda packet: packet.update(note="trust me"),
    "a reconciliation": lambda packet: packet.update(reconciliation=None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_packet_is_convicted(kept: tuple[dict[str, Any], Path], auditor: Auditor, change: str) -> None:
    packet, heads = kept
    CHANGES[change](packet)
    assert "signature" in auditor.refutes("packet", auditor.keep(packet), "--head", heads)


def resigned(world: EvidenceWorld, packet: dict[str, Any]) -> dict[str, Any]:
    """The packet with a true signature, as whoever has the key can make it."""
    key = world.signer.key()
    head = packet["chain"]["head"]
    head["signature"] = key.sign(verify_evidence.signed_text(head)).hex()
    packet["signature"] = key.sign(verify_evidence.signed_text(packet)).hex()
    return packet


PROVED = ["an amount", "both amounts", "an account", "a time", "the canonical form", "the hash", "the audit path",
          "the root", "the head's size"]  # fmt: skip


@pytest.mark.parametrize("change", PROVED)
def test_what_is_proved_cannot_be_changed_by_whoever_has_the_key(
    world: EvidenceWorld, kept: tuple[dict[str, Any], Path], auditor: Auditor, change: str
) -> None:
    packet, heads = kept
    CHANGES[change](packet)
    assert "signature" not in auditor.refutes("packet", auditor.keep(resigned(world, packet)), "--head", heads)


def test_no_byte_of_a_packet_can_be_changed(kept: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    packet, heads = kept
    raw = json.dumps(packet, ensure_ascii=False).encode()
    chance = random.Random(20_261_127)
    path = tmp_path / "mutated.json"
    for _ in range(1_500):
        at, byte = chance.randrange(len(raw)), chance.randrange(256)
        mutated = raw[:at] + bytes([byte]) + raw[at + 1 :]
        path.write_bytes(mutated)
        if mutated == raw or _same_meaning(mutated, packet):
            continue
        with pytest.raises(verify_evidence.Refuted):
            verify_evidence.verify([heads], [], (), path)


def _same_meaning(mutated: bytes, packet: dict[str, Any]) -> bool:
    """Whether another white space took the place of one."""
    try:
        return bool(verify_evidence.parse(mutated.decode()) == packet)
    except ValueError:
        return False


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"format": "holdfast-evidence/1"}', '{"a": 1, "a": 1}', "1.5", "[" * 100_000]
)
def test_what_is_no_packet_is_never_a_pass(kept: tuple[dict[str, Any], Path], auditor: Auditor, text: str) -> None:
    auditor.refutes("packet", auditor.keep(text), "--head", kept[1])


def test_a_packet_of_another_ledger_is_convicted(kept: tuple[dict[str, Any], Path], auditor: Auditor) -> None:
    packet, heads = kept
    packet["ledger_id"] = "another"
    auditor.refutes("packet", auditor.keep(packet), "--head", heads)


def test_a_key_that_the_auditor_knows_is_enough_but_says_what_it_leaves_open(
    kept: tuple[dict[str, Any], Path], auditor: Auditor
) -> None:
    packet, _ = kept
    said = auditor.holds("packet", auditor.keep(packet), "--key", packet["key_id"])
    assert "no head was kept" in said
    auditor.refutes("packet", auditor.keep(packet), "--key", "0" * 32)
    assert auditor.verify("packet", auditor.keep(packet))[0] == 2


# Tampering with the ledger


def test_a_changed_entry_is_convicted(world: EvidenceWorld, auditor: Auditor, tmp_path: Path) -> None:
    world.funded("alice", 1_000)
    world.account("bob")
    payment_id = world.paid("alice", "bob", 10)
    heads = world.export(tmp_path / "heads.jsonl")
    world.tamper(doubled(payment_id), "UPDATE entry SET balance_minor = balance_minor - 10 WHERE account_id = 'alice'")
    said = auditor.refutes("packet", auditor.keep(world.of_payment(payment_id)), "--head", heads)
    assert "changed" in said or "differ" in said
