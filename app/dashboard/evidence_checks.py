"""Checking an evidence packet while somebody looks on: the same checks as `tools/verify_evidence.py`, one by one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools import verify_evidence
from tools.verify_evidence import Files, Refuted, Unproven


@dataclass(slots=True, frozen=True)
class Check:
    """One check: what was looked at, and what is wrong; empty if it holds."""

    words: str
    wrong: str = ""


def checks(packet: Mapping[str, Any]) -> list[Check]:
    """Every check of a packet, each done whatever the others found."""
    document = verify_evidence.parse(json.dumps(packet, ensure_ascii=False))
    keys = Files().keys
    wanted: list[tuple[str, Callable[[], object]]] = [
        ("The public keys belong to this ledger, and one endorses the next", lambda: _trust(keys, document)),
        ("The packet has the signature of such a key", lambda: keys.require(document, "the packet")),
    ]
    if document["transaction"] is not None:
        head = document["chain"]["head"]
        wanted += [
            (
                "The hash, recomputed from the transaction and its entries, is the chain’s; the entries balance",
                lambda: verify_evidence.verify_transaction(document),
            ),
            ("It is in the tree of the signed head", lambda: verify_evidence.verify_place(document, head)),
            ("The head has the signature of such a key", lambda: keys.require(head, "the head")),
        ]
    return [_check(words, look) for words, look in wanted]


def _trust(keys: verify_evidence.Keys, document: Mapping[str, Any]) -> None:
    """Trust the first key and those that it endorses."""
    for key in document["keys"]:
        keys.add(key)
    if not keys.trust_from([document["keys"][0]["key_id"]], [document["key_id"]]):
        raise Refuted("no earlier key endorses the one that signed")


def _check(words: str, look: Callable[[], object]) -> Check:
    try:
        look()
    except (Refuted, Unproven, *verify_evidence.MALFORMED) as error:
        return Check(words, str(error))
    return Check(words)
