"""Evidence from a running system: what its users type, and packets for all that was posted around a kill."""

import json
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.domain.payment import parse_payment_id
from tests.evidence.world import Auditor
from tests.patience import PATIENCE_S, until
from tests.system.harness import Client, System, payment
from tests.system.load import Traffic, open_wallets
from tools import verify_evidence

AROUND_THE_KILL = 150
"""Payments answered before it and after it."""


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    """Somebody with a directory of their own."""
    return Auditor(tmp_path)


def packet_of(client: Client, payment_id: str, query: str = "") -> dict[str, Any]:
    packet: dict[str, Any] = client.get(f"/v1/payments/{payment_id}/evidence{query}")
    return packet


def test_kill_9_under_load_leaves_one_packet_that_verifies_for_every_posted_payment(
    system: System, tmp_path: Path
) -> None:
    opening = open_wallets(system, "proved", 12, 5_000)
    traffic = Traffic(system, list(opening), "proved")
    try:
        traffic.wait_for_more(AROUND_THE_KILL)
        victims = [*system.named("workers.drain"), *system.api_workers(), *system.named("workers.maintain")]
        for process in victims:
            process.kill()
        psutil.wait_procs(victims, timeout=PATIENCE_S)
        traffic.wait_for_more(AROUND_THE_KILL)
    finally:
        sent = traffic.stop()
    system.wait_posted()
    kept = tmp_path / "heads.jsonl"
    system.run("heads", "export", str(kept), check=0)

    accepted = {one.answers[0][1]: one for one in sent if one.accepted}
    assert len(accepted) >= AROUND_THE_KILL
    client, place = system.client(), tmp_path / "packet.json"
    for payment_id, one in accepted.items():
        packet = packet_of(client, payment_id)
        assert packet["subject"]["external_id"] == one.body["external_id"]
        assert packet["transaction"]["entries"][0]["amount_minor"] == one.body["amount_minor"]
        place.write_text(json.dumps(packet))
        assert verify_evidence.verify([kept], [], (), place)
    client.close()


def test_what_an_auditor_types_over_the_months(system: System, auditor: Auditor) -> None:
    client = system.client()
    source, shop = client.account("audited"), client.account("audited-shop")
    client.fund(source, 5_000)
    first = client.pay(payment(source, shop, 10), prefer="wait=30").body["payment_id"]
    old, new, proof = (auditor.directory / name for name in ("old.jsonl", "new.jsonl", "proof.jsonl"))
    assert "heads, signed" in system.run("heads", "export", str(old), check=0).stdout
    client.close()
    second = client.pay(payment(source, shop, 20), prefer="wait=30").body["payment_id"]
    system.run("heads", "export", str(new), check=0)
    system.run("heads", "prove", "--from", str(old), "--to", str(new), str(proof), check=0)

    said = system.run("verify", "--consistency", str(old), str(new), str(proof), check=0).stdout
    assert said == auditor.holds("heads", old, new, "--proof", proof)
    position = parse_payment_id(second)
    assert position is not None
    [size] = [
        line["chain_seq"] for line in map(json.loads, old.read_text().splitlines())
        if line.get("partition") == position.partition
    ]  # fmt: skip
    for payment_id in (first, second):
        client.close()  # a command takes longer than the server keeps an idle connection
        packet = auditor.keep(packet_of(client, payment_id, f"?kept_size={size}"))
        said = system.run("verify", "--packet", str(packet), "--head", str(new), "--head", str(old), check=0).stdout
        assert said == auditor.holds("packet", packet, "--head", new, "--head", old)
    packet.write_text(packet.read_text().replace("audited-shop", "another-shop"))
    assert system.run("verify", "--packet", str(packet), "--head", str(old), check=1).stdout.startswith("FALSE")

    [key] = system.run("heads", "keys", check=0).stdout.splitlines()
    key_id = key.split()[0]
    client.close()
    assert key_id in {head["key_id"] for head in client.get("/v1/heads")["data"]}
    assert stat.S_IMODE((system.data_dir / "signing-key").stat().st_mode) == 0o600
    system.run("heads", "rotate", check=0)
    assert len(system.run("heads", "keys", check=0).stdout.splitlines()) == 2
    system.run("heads", "export", str(new), check=0)
    system.run("heads", "prove", "--from", str(old), "--to", str(new), str(proof), check=0)
    auditor.holds("heads", old, new, "--proof", proof, "--key", key_id)
    client.close()


def test_the_maintenance_worker_signs_and_exports_by_itself(system: System) -> None:
    files = system.data_dir / "heads"
    until(lambda: files.is_dir() and any(files.glob("heads-*.jsonl")), system.output)
    [file, *_] = files.glob("heads-*.jsonl")
    assert verify_evidence.verify([file], [])


def test_verify_compares_the_heads_of_all_versions_with_the_ledger(system: System, tmp_path: Path) -> None:
    [(partition, chain_seq, chain_hash)] = system.sql(
        "SELECT partition, chain_seq, encode(hash, 'hex') FROM ledger_transaction ORDER BY posted_at LIMIT 1"
    )
    kept = tmp_path / "heads.jsonl"
    system.run("heads", "export", str(kept), check=0)
    old = {"partition": partition, "chain_seq": chain_seq, "chain_hash": chain_hash}
    kept.write_text(json.dumps(old) + "\n" + kept.read_text())
    system.run("verify", "--heads", str(kept), check=0)
    kept.write_text(kept.read_text().replace(chain_hash, "00" * 32, 1))
    assert f"chain_head on {partition}/{chain_seq}" in system.run("verify", "--heads", str(kept), check=1).stdout
    lines = kept.read_text().splitlines()
    lines[-1] = lines[-1].replace('"chain_seq": ', '"chain_seq": 1')
    kept.write_text("\n".join(lines))
    assert "false signature" in system.run("verify", "--heads", str(kept), check=1).stderr
