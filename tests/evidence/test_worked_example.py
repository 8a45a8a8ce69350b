"""The worked example of docs/evidence.md: an auditor who follows it gets the same bytes."""

import json
import re
import subprocess
import sys
from hashlib import sha256

import jsonschema

from app.command_line import PROJECT
from tests.evidence.world import SCHEMA

PAPER = (PROJECT / "docs" / "evidence.md").read_text(encoding="utf-8")
EXAMPLE = PROJECT / "docs" / "evidence"
PACKET = json.loads((EXAMPLE / "packet.json").read_text(encoding="utf-8"))


def test_the_session_says_what_the_verifier_says() -> None:
    [(command, said)] = re.findall(r"^\$ python3 (tools/verify_evidence.py .*)\n((?:.+\n)*?)```$", PAPER, re.MULTILINE)
    done = subprocess.run([sys.executable, *command.split()], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == said


def test_the_steps_lead_to_the_root_of_the_head() -> None:
    chain = PACKET["chain"]
    canonical = chain["canonical"].encode()
    assert f"one line of {len(canonical)} bytes" in PAPER
    own = sha256(bytes.fromhex(chain["previous_hash"]) + canonical).digest()
    leaf = sha256(b"\x00" + own).digest()
    left, right = (bytes.fromhex(one) for one in chain["inclusion"]["hashes"])
    node = sha256(b"\x01" + left + leaf).digest()
    root = sha256(b"\x01" + node + right).digest()
    assert root.hex() == chain["head"]["merkle_root"]
    kept = json.loads((EXAMPLE / "kept-heads.jsonl").read_text().splitlines()[-1])
    assert node.hex() == kept["merkle_root"]
    for shown in (
        chain["canonical"],
        chain["previous_hash"],
        *(one.hex() for one in (own, leaf, left, right, node, root)),
    ):
        assert f"{shown}\n" in PAPER


def test_the_example_is_of_the_shape_that_the_schema_says() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(PACKET)
    assert SCHEMA["$defs"]["EvidencePacket"]["additionalProperties"] is False
