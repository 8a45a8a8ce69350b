"""The hash that chains the ledger: its canonical form is a promise to whoever recomputes it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.hash_chain import GENESIS_HASH, Entry, LedgerTransaction, chain_hash
from app.domain.money import MAX_MINOR
from app.domain.payment import Kind
from app.domain.timestamps import EPOCH
from tests.builders import NOON

GOLDEN = LedgerTransaction(
    partition=3,
    chain_seq=7,
    entity_id="default",
    external_id="order-ü",
    kind="payment",
    payment_id="pay_3_1769860800000_0",
    relates_to=None,
    fingerprint="f" * 36,
    actor="key:test",
    description=None,
    metadata={"b": [1, 2.5, None, True], "a": {"ключ": "☃"}},
    accepted_at=NOON,
    effective_at=NOON - timedelta(days=1),
    posted_at=NOON + timedelta(microseconds=1_234),
    entries=[Entry("alice", 4, 100, 900, "EUR"), Entry("bob", 1, -100, 100, "EUR")],
    previous_hash=GENESIS_HASH,
)
CANONICAL = (
    '[3,7,"default","order-ü","payment","pay_3_1769860800000_0",null,"ffffffffffffffffffffffffffffffffffff","key:test",'
    'null,{"a":{"ключ":"☃"},"b":[1,2.5,null,true]},1769860800000000,1769774400000000,1769860800001234,'
    '[["alice",4,100,900,"EUR"],["bob",1,-100,100,"EUR"]]]'
)


def test_the_hash_is_of_the_predecessor_and_the_canonical_form_to_the_byte() -> None:
    assert chain_hash(GOLDEN) == sha256(GENESIS_HASH + CANONICAL.encode()).digest()
    assert chain_hash(GOLDEN).hex() == "3e49d23108a196b14e7ee5d13be7f794de1e5b030554bba3c787852bef2907fc"


CHANGES: dict[str, dict[str, Any]] = {
    "partition": {"partition": 4},
    "chain_seq": {"chain_seq": 8},
    "entity_id": {"entity_id": "other"},
    "external_id": {"external_id": "order-u"},
    "kind": {"kind": "journal"},
    "payment_id": {"payment_id": "pay_3_1769860800000_1"},
    "relates_to": {"relates_to": "pay_3_1769860800000_9"},
    "fingerprint": {"fingerprint": "g" * 36},
    "actor": {"actor": "key:other"},
    "description": {"description": ""},
    "metadata": {"metadata": None},
    "accepted_at": {"accepted_at": NOON + timedelta(microseconds=1)},
    "effective_at": {"effective_at": NOON},
    "posted_at": {"posted_at": NOON},
    "previous_hash": {"previous_hash": b"\x01" * 32},
    "order of entries": {"entries": GOLDEN.entries[::-1]},
    "an entry missing": {"entries": GOLDEN.entries[:1]},
    "entry account": {"entries": [replace(GOLDEN.entries[0], account_id="carol"), GOLDEN.entries[1]]},
    "entry number": {"entries": [replace(GOLDEN.entries[0], entry_number=5), GOLDEN.entries[1]]},
    "entry amount": {"entries": [replace(GOLDEN.entries[0], amount_minor=101), GOLDEN.entries[1]]},
    "entry balance": {"entries": [replace(GOLDEN.entries[0], balance_minor=901), GOLDEN.entries[1]]},
    "entry currency": {"entries": [replace(GOLDEN.entries[0], currency_code="USD"), GOLDEN.entries[1]]},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_content_changes_the_hash(change: dict[str, Any]) -> None:
    assert chain_hash(replace(GOLDEN, **change)) != chain_hash(GOLDEN)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), documents))
def test_metadata_hashes_the_same_after_a_round_trip_through_json(metadata: dict[str, Any]) -> None:
    again = json.loads(json.dumps(dict(reversed(metadata.items()))))
    assert chain_hash(replace(GOLDEN, metadata=again)) == chain_hash(replace(GOLDEN, metadata=metadata))


@given(st.text(), st.none() | st.text(), st.integers(-MAX_MINOR, MAX_MINOR), st.datetimes(timezones=st.just(UTC)))
def test_the_canonical_form_is_what_a_json_encoder_makes(
    name: str, maybe: str | None, amount: int, moment: datetime
) -> None:
    one = replace(
        GOLDEN,
        entity_id=name,
        external_id=name,
        kind=Kind.PAYMENT,
        relates_to=maybe,
        description=maybe,
        accepted_at=moment,
        effective_at=moment,
        entries=[Entry(name, 1, amount, -amount, name)],
    )
    document: list[Any] = json.loads(CANONICAL)
    document[2:5] = [name, name, "payment"]
    document[6], document[9] = maybe, maybe
    document[11] = document[12] = (moment - EPOCH) // timedelta(microseconds=1)
    document[14] = [[name, 1, amount, -amount, name]]
    canonical = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert chain_hash(one) == sha256(GENESIS_HASH + canonical.encode()).digest()
