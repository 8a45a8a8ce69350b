"""The page of a payment tells its evidence, verifies it, and gives it away."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.dashboard.evidence_checks import checks
from app.domain.errors import TreeUnderConstruction
from app.wiring.workers import build_reconciler
from tests.api.world import BANK
from tests.dashboard.world import Browser, World, text_of
from tools import verify_evidence


@pytest.fixture(scope="module")
def world(shared_world: World) -> World:
    """A wallet that was paid from, with metadata, and proved by a run."""
    world = shared_world
    world.funded("wallet:ada")
    world.account("merchant:lumen")
    more: dict[str, Any] = {"external_id": "order-1", "metadata": {"order": "7", "lines": [1, 2]}}
    world.pay("wallet:ada", "merchant:lumen", 2_500, **more)
    world.drained()
    build_reconciler(world.settings).run(full=True)
    return world


def path(world: World) -> str:
    [(found,)] = world.sql("SELECT payment_id FROM ledger_transaction WHERE external_id = 'order-1'")
    return f"/payments/{found}"


def test_a_payment_tells_who_asked_what_was_checked_and_where_it_is_proved(world: World, viewer: Browser) -> None:
    text = text_of(viewer.page(path(world)))
    for words in (
        "Asked for by the key “a test”",
        "Route POST /v1/payments",
        "wallet:ada 100.00 → 75.00 EUR, floor 0.00 now",
        "Outbox position",
        "2 entries in one transaction; debits equal credits.",
        "signed 20",
        "Run 1 covered it: the chain is whole, and cache and ledger agree.",
        "order 7",
        "lines [1, 2]",
    ):
        assert words in text, words


def test_verifying_says_what_was_checked(world: World, viewer: Browser) -> None:
    text = text_of(viewer.page(f"{path(world)}?verify=1"))
    assert "It holds" in text
    assert "The hash, recomputed from the transaction and its entries, is the chain’s" in text
    assert "This server has checked what it says itself." in text


def test_the_evidence_is_a_file_that_holds_by_a_kept_head(world: World, viewer: Browser, tmp_path: Path) -> None:
    response = viewer.get(f"{path(world)}/evidence.json")
    assert response.mimetype == "application/json"
    assert "attachment" in response.headers["Content-Disposition"]
    (tmp_path / "packet.json").write_bytes(response.data)
    packet = json.loads(response.data)
    kept = tmp_path / "heads.jsonl"
    kept.write_text("".join(json.dumps(one) + "\n" for one in [*packet["keys"], packet["chain"]["head"]]))
    assert verify_evidence.verify([kept], [], packet_file=tmp_path / "packet.json")
    assert viewer.get("/payments/pay_0_1_0/evidence.json").status_code == 404


def packet_of(world: World, viewer: Browser) -> dict[str, Any]:
    found: dict[str, Any] = viewer.get(f"{path(world)}/evidence.json").get_json()
    return found


def test_each_check_finds_what_was_changed(world: World, viewer: Browser) -> None:
    def wrong(change: Any) -> list[bool]:
        packet = packet_of(world, viewer)
        change(packet)
        return [bool(one.wrong) for one in checks(packet)]

    assert wrong(lambda packet: None) == [False] * 5
    amount = wrong(lambda packet: packet["transaction"]["entries"][0].update(amount_minor=1))
    assert amount == [False, True, True, False, False]
    assert wrong(lambda packet: packet["source"].update(actor="key:eve")) == [False, True, False, False, False]
    moved = wrong(lambda packet: packet["chain"]["head"].update(merkle_root="0" * 64))
    assert moved == [False, True, False, True, True]
    assert wrong(lambda packet: packet["keys"][0].update(public_key="0" * 64))[0]


def test_a_payment_is_told_though_its_proof_cannot_be_made_now(
    world: World, viewer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise TreeUnderConstruction("The tree of chain 3 is not complete yet.")

    evidence = type(world.page_services.api.evidence)
    monkeypatch.setattr(evidence, "of_any", lambda self, payment_id: fails(payment_id))
    text = text_of(viewer.page(path(world)))
    assert "The proof cannot be made at the moment: The tree of chain 3 is not complete yet." in text
    assert "Posted to the ledger" in text
    assert "Verify" not in text


def test_a_pending_payment_has_evidence_too(world: World, viewer: Browser) -> None:
    accepted = world.pay("wallet:ada", "merchant:lumen", 100, external_id="waits").get_json()["payment_id"]
    text = text_of(viewer.page(f"/payments/{accepted}?verify=1"))
    assert "It holds" in text
    assert "The packet has the signature of such a key" in text
    assert "in the tree" not in text
    world.drained()


def test_journals_and_refunds_have_evidence(world: World, viewer: Browser) -> None:
    lines = [{"account_id": "wallet:ada", "direction": "debit", "amount_minor": 1},
             {"account_id": BANK, "direction": "credit", "amount_minor": 1}]  # fmt: skip
    journal = world.post("/v1/journals", {"external_id": "j-1", "reason": "x", "entries": lines}).get_json()
    refund = world.post(f"/v1/{path(world)[1:]}/refunds", {"external_id": "r-1", "amount_minor": 5}).get_json()
    for found in (journal["journal_id"], refund["refund_id"]):
        assert "It holds" in text_of(viewer.page(f"/payments/{found}?verify=1"))
    assert "Given back" in text_of(viewer.page(path(world)))
