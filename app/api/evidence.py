"""Evidence: one document of everything on record, which can be checked without Holdfast; and the signed heads."""

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import UNSET

from app.api.entity_binding import entity_of, visible_entity
from app.api.evidence_schema import ConsistencyBody, EvidencePacket, SignedHeadBody
from app.api.fields import LARGEST_NUMBER, number_of
from app.api.json_body import malformed
from app.api.parameters import EXTERNAL_ID, OF_ENTITY
from app.api.responses import Answer, json_answer, problem
from app.api.routes import Call, Parameter, Routes
from app.domain.errors import TreeUnderConstruction
from app.domain.journal_refusals import journal_not_found
from app.domain.payment_refusals import nothing_to_prove, payment_not_found
from app.domain.refusals import Refusal
from app.domain.refusals import RefusalCode as Code
from app.services.access.api_keys import Scope
from app.services.proofs.evidence import OF_JOURNALS, OF_REFUNDS

routes = Routes()

BEHIND = frozenset({Code.LEDGER_BACKLOGGED})
UNDER_CONSTRUCTION = "The tree that proves the history is still being built, as after an upgrade. Retry in minutes."


def _whole(name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        found = number_of(text)
        if found is None:
            raise malformed(f"{name} must be a whole number, as in a signed head.", field=name)
        return found

    return read


_NUMBER = {"type": "integer", "minimum": 0, "maximum": LARGEST_NUMBER, "format": "int64"}
KEPT_SIZE: Parameter[int | None] = Parameter(
    "kept_size",
    _whole("kept_size"),
    None,
    _NUMBER,
    "The `chain_seq` of a head of the same chain that you have kept: the packet then proves that its own head "
    "continues yours.",
)
PARTITION: Parameter[int] = Parameter("partition", _whole("partition"), 0, _NUMBER, "The chain.", required=True)
FROM_SIZE: Parameter[int] = Parameter(
    "from_size", _whole("from_size"), 0, _NUMBER, "The `chain_seq` of the older head.", required=True
)
TO_SIZE: Parameter[int] = Parameter(
    "to_size", _whole("to_size"), 0, _NUMBER, "The `chain_seq` of the newer head.", required=True
)


@routes.add(
    "GET",
    "/v1/payments/{payment_id}/evidence",
    "The evidence of a payment or an authorization, in any state",
    scope=Scope.PAYMENTS_READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
    refuses=BEHIND | {Code.PAYMENT_NOT_FOUND},
)
def payment_evidence(call: Call[None]) -> Answer:
    """The packet of one payment."""
    payment_id = call.path["payment_id"]
    return _answer(partial(call.here.evidence.of_payment, payment_id, call[KEPT_SIZE]), payment_not_found(payment_id))


@routes.add(
    "GET",
    "/v1/refunds/{refund_id}/evidence",
    "The evidence of a refund",
    scope=Scope.PAYMENTS_READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
    refuses=BEHIND | {Code.PAYMENT_NOT_FOUND},
)
def refund_evidence(call: Call[None]) -> Answer:
    """The packet of one refund."""
    refund_id = call.path["refund_id"]
    packet = partial(call.here.evidence.of_transaction, refund_id, OF_REFUNDS, call[KEPT_SIZE])
    return _answer(packet, nothing_to_prove("refund_id", refund_id))


@routes.add(
    "GET",
    "/v1/journals/{journal_id}/evidence",
    "The evidence of a journal or a reversal",
    scope=Scope.PAYMENTS_READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
    refuses=BEHIND | {Code.JOURNAL_NOT_FOUND},
)
def journal_evidence(call: Call[None]) -> Answer:
    """The packet of one journal."""
    journal_id = call.path["journal_id"]
    packet = partial(call.here.evidence.of_transaction, journal_id, OF_JOURNALS, call[KEPT_SIZE])
    return _answer(packet, journal_not_found(journal_id))


@routes.add(
    "GET",
    "/v1/evidence",
    "The evidence of whatever has an external_id, also of a payment that was refused",
    scope=Scope.PAYMENTS_READ,
    answers={200: EvidencePacket},
    parameters=(EXTERNAL_ID, OF_ENTITY, KEPT_SIZE),
    refuses=BEHIND | {Code.PAYMENT_NOT_FOUND},
)
def find_evidence(call: Call[None]) -> Answer:
    """The packet of an external id."""
    external_id: Any = call[EXTERNAL_ID]
    entity_id = visible_entity(call, entity_of(call, call[OF_ENTITY] if call.has(OF_ENTITY) else UNSET))
    packet = partial(call.here.evidence.of_external_id, entity_id, external_id, call[KEPT_SIZE], call.entities)
    return _answer(packet, nothing_to_prove("external_id", external_id))


def _answer(packet: Callable[[], dict[str, Any] | None], not_found: Refusal) -> Answer:
    """The packet, or why there is none."""
    try:
        found = packet()
    except TreeUnderConstruction:
        return problem(Refusal(Code.LEDGER_BACKLOGGED, UNDER_CONSTRUCTION))
    return problem(not_found) if found is None else json_answer(found)


@routes.add(
    "GET",
    "/v1/heads",
    "The last signed head of each chain",
    scope=Scope.REPORTS_READ,
    answers={200: SignedHeadBody},
    paged=True,
)
def list_heads(call: Call[None]) -> Answer:
    """The heads, to keep them elsewhere."""
    return json_answer({"data": [head.document() for head in call.here.heads.latest()], "next": None})


@routes.add(
    "GET",
    "/v1/heads/consistency",
    "The proof that an older head of a chain is the beginning of a newer one",
    scope=Scope.REPORTS_READ,
    answers={200: ConsistencyBody},
    parameters=(PARTITION, FROM_SIZE, TO_SIZE),
)
def head_consistency(call: Call[None]) -> Answer:
    """The proof between two sizes of one chain, which must both be signed by now."""
    partition, from_size, to_size = call[PARTITION], call[FROM_SIZE], call[TO_SIZE]
    signed = {head.partition: head.chain_seq for head in call.here.heads.latest()}
    if not from_size <= to_size <= signed.get(partition, -1):
        raise malformed("from_size, to_size and the signed size of the chain must not decrease.", field="to_size")
    return json_answer(call.here.heads.consistency(partition, from_size, to_size))
