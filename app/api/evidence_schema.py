"""The shape of an evidence packet, for the reference and for `docs/evidence.schema.json`.

The packets themselves are made by `app/services/proofs/evidence.py`, as the documents that are signed.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Struct

from app.api.fields import Moment, one_of
from app.domain.accounts import AccountStatus
from app.domain.audit import Action
from app.domain.authorizations import AuthorizationState
from app.domain.payment import Kind
from app.domain.refusals import RefusalCode

_KINDS = one_of([one.value for one in Kind])
_STATUSES = one_of(["posted", "pending", "refused", "rejected", *(one.value for one in AuthorizationState)])
_CODES = one_of([one.value for one in RefusalCode])


class EvidenceSubject(Struct, forbid_unknown_fields=True):
    """What the packet is about. A payment that was refused has no id."""

    kind: Annotated[str, _KINDS]
    id: str | None
    entity_id: str
    external_id: str
    status: Annotated[str, _STATUSES]


class EvidenceCall(Struct, forbid_unknown_fields=True):
    """The audit's record of a call of the API: when, who, from where, what, and how it was answered."""

    called_at: Moment
    action: Annotated[str, one_of([one.value for one in Action])] | None
    request_id: str | None
    actor: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: Annotated[str, _CODES] | None
    duration_us: int | None


class EvidenceSource(Struct, forbid_unknown_fields=True):
    """Who asked for it, when and what for; `calls` are the calls that made it and changed it, from the audit."""

    actor: str | None
    accepted_at: Moment | None
    effective_at: Moment | None
    fingerprint: str | None
    description: str | None
    metadata_json: str | None
    calls: list[EvidenceCall]


class EvidenceIdempotency(Struct, forbid_unknown_fields=True):
    """The id that makes it unique, the digest of its content, and the late repeats that were not posted again."""

    external_id: str
    fingerprint: str | None
    repeats: list[str]


class EvidenceFunds(Struct, forbid_unknown_fields=True):
    """An account whose balance fell: before and after, minor units. The ledger refuses a fall below the floor."""

    account_id: str
    balance_before_minor: int
    balance_minor: int


class EvidenceLimit(Struct, forbid_unknown_fields=True):
    """The floor of an account in minor units and its status, when the packet was made."""

    account_id: str
    floor_minor: int | None
    status: Annotated[str, one_of([one.value for one in AccountStatus])]


class EvidenceOutbox(Struct, forbid_unknown_fields=True):
    """Its place in the outbox of the cache, which decided it."""

    partition: int
    stream_id: str


class EvidenceControls(Struct, forbid_unknown_fields=True):
    """The controls that it passed."""

    idempotency: EvidenceIdempotency
    funds: list[EvidenceFunds]
    limits: list[EvidenceLimit]
    outbox: EvidenceOutbox | None


class EvidenceRefusal(Struct, forbid_unknown_fields=True):
    """Why it was refused or rejected, with the figures that the check saw."""

    code: Annotated[str, _CODES]
    detail: str
    figures: dict[str, Any]


class EvidenceTransition(Struct, forbid_unknown_fields=True):
    """A step: the state after it, when, who caused it, and by which intent or transaction."""

    state: str
    at: Moment | None
    actor: str | None
    by: str | None


class EvidenceEntry(Struct, forbid_unknown_fields=True):
    """An entry, debit positive, with the balance before and after it on the account's normal side; minor units."""

    account_id: str
    entry_number: int
    amount_minor: int
    balance_before_minor: int
    balance_minor: int
    currency_code: str


class EvidenceTransaction(Struct, forbid_unknown_fields=True):
    """The ledger transaction as it was hashed; times in microseconds since 1970 UTC."""

    partition: int
    chain_seq: int
    entity_id: str
    external_id: str
    kind: Annotated[str, _KINDS]
    payment_id: str
    relates_to: str | None
    fingerprint: str
    actor: str
    description: str | None
    metadata_json: str | None
    accepted_at_us: int
    effective_at_us: int
    posted_at_us: int
    entries: list[EvidenceEntry]


class EvidenceInclusion(Struct, forbid_unknown_fields=True):
    """The audit path of the transaction in the Merkle tree of the head (RFC 6962), hexadecimal."""

    leaf_index: int
    tree_size: int
    hashes: list[str]


class EvidenceConsistency(Struct, forbid_unknown_fields=True):
    """The proof that a head of `from_size`, which somebody kept, is the beginning of the packet's (RFC 6962)."""

    from_size: int
    to_size: int
    hashes: list[str]


class SignedHeadBody(Struct, forbid_unknown_fields=True):
    """A chain at a moment, signed: its size, the hash of its last transaction, and the root of its Merkle tree."""

    format: str
    ledger_id: str
    partition: int
    chain_seq: int
    chain_hash: str
    merkle_root: str
    signed_at: Moment
    key_id: str
    signature: str


class SigningKeyBody(Struct, forbid_unknown_fields=True):
    """A public key (Ed25519, hexadecimal), signed by the key that endorses it, the first one by itself."""

    format: str
    ledger_id: str
    key_id: str
    public_key: str
    introduced_at: Moment
    endorsed_by: str | None
    signature: str


class EvidenceChain(Struct, forbid_unknown_fields=True):
    """The transaction's place in its hash chain, up to a signed head."""

    canonical: str
    previous_hash: str
    hash: str
    leaf_hash: str
    inclusion: EvidenceInclusion
    head: SignedHeadBody
    consistency: EvidenceConsistency | None


class EvidenceConflict(Struct, forbid_unknown_fields=True):
    """How often posting had to try again on an account that it touches, for whichever payment, in all."""

    account_id: str
    retries: int
    exhausted: int
    last_at: Moment


class EvidenceRun(Struct, forbid_unknown_fields=True):
    """A reconciliation that covered it."""

    run_id: int
    mode: str
    started_at: Moment
    finished_at: Moment
    break_count: int | None


class EvidenceReconciliation(Struct, forbid_unknown_fields=True):
    """The first reconciliation after it was posted, the last full one, and the breaks that name it or its accounts."""

    runs: list[EvidenceRun]
    breaks: list[int]


class EvidenceDelivery(Struct, forbid_unknown_fields=True):
    """An attempt to deliver an event of it by webhook: to whom, when, and how it was answered."""

    event_id: str
    event_type: str
    endpoint_id: str
    url: str
    number: int
    started_at: Moment
    duration_ms: int
    status: int | None
    is_delivered: bool


class ConsistencyBody(Struct, forbid_unknown_fields=True):
    """The proof that a chain's first `from_size` transactions are the beginning of its first `to_size` (RFC 6962)."""

    format: str
    ledger_id: str
    partition: int
    from_size: int
    to_size: int
    hashes: list[str]


class EvidencePacket(Struct, forbid_unknown_fields=True):
    """Everything on record of one payment, authorization, refund or journal, signed as a whole.

    `transaction` and `chain` are proved by a head that somebody kept; the rest is what Holdfast states.
    """

    format: str
    ledger_id: str
    issued_at: Moment
    subject: EvidenceSubject
    source: EvidenceSource
    controls: EvidenceControls
    refusal: EvidenceRefusal | None
    transitions: list[EvidenceTransition]
    transaction: EvidenceTransaction | None
    chain: EvidenceChain | None
    conflicts: list[EvidenceConflict]
    reconciliation: EvidenceReconciliation | None
    keys: list[SigningKeyBody]
    key_id: str
    signature: str
    deliveries: list[EvidenceDelivery] = []
    """Packets from before there were events have none."""


def packet_schema() -> dict[str, Any]:
    """The JSON Schema of a packet."""
    schema = msgspec.json.schema(EvidencePacket)
    title = "Holdfast evidence packet"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
