"""Evidence packets: from the request that caused a movement to its place in a signed chain.

What is proved, what is only stated, and how both are checked: `docs/evidence.md`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from app.domain.evidence import (
    PACKET_FORMAT,
    AuthorizationRecord,
    RefusedCall,
    RejectionRecord,
    TransactionRecord,
    moment,
    record,
    signable,
    text_of,
    transition,
)
from app.domain.ledger_rows import QueuedIntent
from app.domain.merkle import leaf_hash
from app.domain.payment import Kind, parse_payment_id
from app.domain.refusals import Refusal
from app.domain.signed_heads import SignedHead, signed_text
from app.domain.timestamps import from_microseconds, from_milliseconds, rfc3339
from app.services.payments.outcomes import PaymentFinder, RefusedPayment
from app.services.proofs.signed_heads import HeadSigner

if TYPE_CHECKING:
    from app.ledger.evidence import LedgerEvidence

OF_PAYMENTS = frozenset({Kind.PAYMENT, Kind.CAPTURE})
OF_REFUNDS = frozenset({Kind.REFUND})
OF_JOURNALS = frozenset({Kind.JOURNAL, Kind.REVERSAL})

Packet = dict[str, Any]


class Evidence:
    """Makes evidence packets, and signs them."""

    def __init__(self, ledger: LedgerEvidence, signer: HeadSigner, finder: PaymentFinder) -> None:
        self._ledger = ledger
        self._signer = signer
        self._finder = finder

    def of_payment(self, payment_id: str, kept_size: int | None = None) -> Packet | None:
        """The packet of a payment or an authorization in any state; None if there is none of this id.

        `kept_size` is the size of a head of its chain that the caller has kept: the packet proves then that its own
        head continues that one.
        """
        original = self._ledger.original_of(payment_id)
        transaction = self._ledger.transaction(original)
        authorization = self._ledger.authorization(original)
        if transaction is not None:
            is_payment = transaction.kind in OF_PAYMENTS
            return self._of_transaction(transaction, authorization, kept_size) if is_payment else None
        if authorization is not None:
            return self._signed(_of_authorization(authorization), authorization.payment_id)
        rejection = self._ledger.rejection(original)
        if rejection is not None:
            return self._signed(_of_rejection(rejection), rejection.payment_id)
        queued = self._finder.find(payment_id)
        return self._signed(_of_pending(queued), payment_id) if isinstance(queued, QueuedIntent) else None

    def of_transaction(self, payment_id: str, kinds: frozenset[Kind], kept_size: int | None = None) -> Packet | None:
        """The packet of a refund or a journal; None if there is none of these kinds and this id."""
        transaction = self._ledger.transaction(payment_id)
        if transaction is None or transaction.kind not in kinds:
            return None
        return self._of_transaction(transaction, None, kept_size)

    def of_any(self, payment_id: str) -> Packet | None:
        """The packet of a payment, an authorization, a refund or a journal, whichever has the id."""
        kinds = frozenset({*OF_REFUNDS, *OF_JOURNALS})
        return self.of_transaction(payment_id, kinds) or self.of_payment(payment_id)

    def of_external_id(
        self,
        entity_id: str,
        external_id: str,
        kept_size: int | None = None,
        entities: Collection[str] | None = None,
    ) -> Packet | None:
        """The packet of whatever has an external id, also of a payment that the cache has refused.

        `entities` are those that the one who asks may see; None is all of them.
        """
        known = self._ledger.id_of(entity_id, external_id)
        if known is not None:
            kinds = frozenset({*OF_REFUNDS, *OF_JOURNALS})
            return self.of_transaction(known, kinds, kept_size) or self.of_payment(known, kept_size)
        found = self._finder.find_by_external_id(entity_id, external_id)
        if isinstance(found, QueuedIntent):
            return self._signed(_of_pending(found), found.payment_id)
        calls = self._ledger.refused_calls(entity_id, external_id, entities)
        if isinstance(found, RefusedPayment):
            calls = [one for one in calls if one.call.code == found.refusal.code.value]
        if calls:
            return self._signed(_of_refused(entity_id, external_id, calls[0].refusal(), calls), None)
        if isinstance(found, RefusedPayment):
            return self._signed(_of_refused(entity_id, external_id, _refusal_of(found.refusal), ()), None)
        return None

    # Transactions

    def _of_transaction(
        self, one: TransactionRecord, authorization: AuthorizationRecord | None, kept_size: int | None
    ) -> Packet:
        packet = _of_posted(one, authorization)
        payment_id = one.facts[5]
        packet["controls"]["idempotency"]["repeats"] = self._ledger.repeats(payment_id)
        limits = {limit.account_id: limit for limit in self._ledger.limits(one.account_ids)}
        packet["controls"]["limits"] = [record(limit) for limit in limits.values()]
        packet["transitions"] += [
            transition(_STATE_OF.get(later.kind, later.kind), later.posted_at, later.actor, later.payment_id)
            for later in self._ledger.related(payment_id)
        ]
        packet["chain"] = self._place(one, kept_size)
        packet["conflicts"] = [record(count) for count in self._ledger.conflicts(one.account_ids)]
        subjects = [payment_id, f"{one.partition}/{one.chain_seq}", *one.account_ids]
        packet["reconciliation"] = {
            "runs": [record(run) for run in self._ledger.runs_since(one.posted_at)],
            "breaks": self._ledger.breaks(subjects),
        }
        return self._signed(packet, payment_id)

    def _place(self, one: TransactionRecord, kept_size: int | None) -> dict[str, Any]:
        head = self._signer.covering(one.partition, one.chain_seq)
        path = self._signer.inclusion(one.partition, one.chain_seq, head.chain_seq)
        return {
            "canonical": one.canonical,
            "previous_hash": one.previous_hash.hex(),
            "hash": one.hash.hex(),
            "leaf_hash": leaf_hash(one.hash).hex(),
            "inclusion": {
                "leaf_index": one.chain_seq - 1,
                "tree_size": head.chain_seq,
                "hashes": [node.hex() for node in path],
            },
            "head": head.document(),
            "consistency": self._since(head, kept_size),
        }

    def _since(self, head: SignedHead, kept_size: int | None) -> dict[str, Any] | None:
        if kept_size is None or not 0 < kept_size < head.chain_seq:
            return None
        proof = self._signer.consistency(head.partition, kept_size, head.chain_seq)
        return {name: proof[name] for name in ("from_size", "to_size", "hashes")}

    # Signing

    def _signed(self, packet: Packet, payment_id: str | None) -> Packet:
        key = self._signer.key()
        keys = self._signer.public_keys()
        if payment_id is not None:
            packet["source"]["calls"] = [record(one) for one in self._ledger.calls_of(payment_id)]
            packet["deliveries"] = [record(one) for one in self._ledger.deliveries_of(payment_id)]
        packet = {
            "format": PACKET_FORMAT,
            "ledger_id": keys[0].ledger_id,
            "issued_at": rfc3339(self._signer.now()),
            **packet,
            "keys": [one.document() for one in keys],
            "key_id": key.key_id,
        }
        return {**packet, "signature": key.sign(signed_text(packet)).hex()}


_STATE_OF = {Kind.REFUND.value: "refunded", Kind.REVERSAL.value: "reversed", Kind.JOURNAL.value: "adjusted"}
"""What a later transaction makes of the one that it relates to."""


def _packet(subject: dict[str, Any], source: dict[str, Any], idempotency: dict[str, Any], **more: Any) -> Packet:
    """All members of a packet; those that a subject does not have are empty."""
    controls: Packet = {"idempotency": idempotency, "funds": [], "limits": [], "outbox": _outbox(subject["id"])}
    empty: Packet = {
        "subject": subject,
        "source": {"calls": [], **source},
        "controls": controls,
        "refusal": None,
        "transitions": [],
        "transaction": None,
        "chain": None,
        "conflicts": [],
        "reconciliation": None,
        "deliveries": [],
    }
    return empty | more


def _outbox(payment_id: str | None) -> dict[str, Any] | None:
    """The place in the outbox that an id names; journals and refunds were never there."""
    position = None if payment_id is None else parse_payment_id(payment_id)
    return None if position is None else {"partition": position.partition, "stream_id": position.stream_id}


def _of_posted(one: TransactionRecord, authorization: AuthorizationRecord | None) -> Packet:
    (
        _, _, entity_id, external_id, kind, payment_id, _, fingerprint, actor, description, metadata,
        accepted_at_us, effective_at_us, _,
    ) = one.facts  # fmt: skip
    packet = _packet(
        _subject("authorization" if authorization else kind, payment_id, entity_id, external_id, "posted"),
        _source(actor, accepted_at_us, effective_at_us, fingerprint, description, metadata),
        {"external_id": external_id, "fingerprint": fingerprint, "repeats": []},
        transaction=one.document(),
    )
    packet["controls"]["funds"] = [
        {
            "account_id": entry.account_id,
            "balance_before_minor": entry.balance_before_minor,
            "balance_minor": entry.balance_minor,
        }
        for entry in one.entries
        if entry.balance_minor < entry.balance_before_minor
    ]
    first = (
        _history(authorization) if authorization else [transition("accepted", from_microseconds(accepted_at_us), actor)]
    )
    packet["transitions"] = [*first, transition("posted", one.posted_at, None, f"{one.partition}/{one.chain_seq}")]
    return packet


def _of_authorization(one: AuthorizationRecord) -> Packet:
    return _packet(
        _subject("authorization", one.payment_id, one.entity_id, one.external_id, one.state),
        {
            "actor": one.actor,
            "accepted_at": moment(one.accepted_at),
            "effective_at": moment(one.effective_at),
            "fingerprint": one.fingerprint,
            "description": one.description,
            "metadata_json": one.metadata_json,
        },
        {"external_id": one.external_id, "fingerprint": one.fingerprint, "repeats": []},
        transitions=_history(one),
    )


def _history(one: AuthorizationRecord) -> list[dict[str, Any]]:
    accepted = transition("accepted", one.accepted_at, one.actor, one.payment_id)
    return [accepted, *(transition(e.state, e.recorded_at, e.actor, e.intent_id) for e in one.events)]


def _of_rejection(one: RejectionRecord) -> Packet:
    position = parse_payment_id(one.payment_id)
    accepted_at = None if position is None else from_milliseconds(position.stamped_ms)
    return _packet(
        _subject(one.intent["kind"], one.payment_id, one.entity_id, one.external_id, "rejected"),
        {
            "actor": one.intent["actor"],
            "accepted_at": moment(accepted_at),
            "effective_at": one.intent["effective_at"],
            "fingerprint": one.fingerprint,
            "description": one.intent["description"],
            "metadata_json": text_of(one.intent["metadata"]),
        },
        {"external_id": one.external_id, "fingerprint": one.fingerprint, "repeats": []},
        refusal={"code": one.code, "detail": one.detail, "figures": signable(one.figures)},
        transitions=[
            transition("accepted", accepted_at, one.intent["actor"], one.payment_id),
            transition("rejected", one.rejected_at, None),
        ],
    )


def _of_pending(queued: QueuedIntent) -> Packet:
    intent, position = queued.intent, queued.outbox_position
    accepted_at = from_milliseconds(position.stamped_ms)
    return _packet(
        _subject(intent.kind, position.payment_id, intent.entity_id, intent.external_id, "pending"),
        {
            "actor": intent.actor,
            "accepted_at": moment(accepted_at),
            "effective_at": moment(intent.effective_at),
            "fingerprint": intent.fingerprint,
            "description": intent.description,
            "metadata_json": text_of(intent.metadata),
        },
        {"external_id": intent.external_id, "fingerprint": intent.fingerprint, "repeats": []},
        transitions=[transition("accepted", accepted_at, intent.actor, position.payment_id)],
    )


def _refusal_of(refusal: Refusal) -> dict[str, Any]:
    """A refusal as it stands in a packet."""
    return {"code": refusal.code.value, "detail": refusal.detail, "figures": signable(dict(refusal.figures))}


def _of_refused(entity_id: str, external_id: str, refusal: dict[str, Any], calls: Sequence[RefusedCall]) -> Packet:
    """What was refused and never became a payment has no id; who asked for it, the audit knows."""
    source: Packet = dict.fromkeys(("accepted_at", "effective_at", "fingerprint", "description", "metadata_json"))
    source["actor"] = calls[0].call.actor if calls else None
    source["calls"] = [record(one.call) for one in calls]
    return _packet(
        _subject("payment", None, entity_id, external_id, "refused"),
        source,
        {"external_id": external_id, "fingerprint": None, "repeats": []},
        refusal=refusal,
    )


def _subject(kind: str, payment_id: str | None, entity_id: str, external_id: str, status: str) -> dict[str, Any]:
    return {
        "kind": str(kind),
        "id": payment_id,
        "entity_id": entity_id,
        "external_id": external_id,
        "status": str(status),
    }


def _source(
    actor: str,
    accepted_at_us: int,
    effective_at_us: int,
    fingerprint: str,
    description: str | None,
    metadata: str | None,
) -> dict[str, Any]:
    return {
        "actor": actor,
        "accepted_at": moment(from_microseconds(accepted_at_us)),
        "effective_at": moment(from_microseconds(effective_at_us)),
        "fingerprint": fingerprint,
        "description": description,
        "metadata_json": metadata,
    }
