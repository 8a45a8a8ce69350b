"""Evidence: one document of everything on record, which can be checked without Holdfast; and the signed heads."""

from typing import Any

from app.api.evidence_schema import EvidencePacket, SignedHeadBody
from app.api.json_body import malformed
from app.api.parameters import EXTERNAL_ID, OF_ENTITY
from app.api.responses import Answer, json_answer, problem
from app.api.routes import Call, Parameter, Routes
from app.domain.journal_refusals import journal_not_found
from app.domain.payment_refusals import payment_not_found
from app.services.access.api_keys import Scope
from app.services.proofs.evidence import OF_JOURNALS, OF_REFUNDS

routes = Routes()


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise malformed("kept_size must be the chain_seq of a signed head.", field="kept_size")
    return int(text)


KEPT_SIZE: Parameter[int | None] = Parameter(
    "kept_size",
    _size,
    None,
    {"type": "integer", "minimum": 0},
    "The `chain_seq` of a head of the same chain that you have kept: the packet then proves that its own head "
    "continues yours.",
)


@routes.add(
    "GET",
    "/v1/payments/{payment_id}/evidence",
    "The evidence of a payment or an authorization, in any state",
    scope=Scope.READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
)
def payment_evidence(call: Call[None]) -> Answer:
    """The packet of one payment."""
    payment_id = call.path["payment_id"]
    packet = call.here.evidence.of_payment(payment_id, call[KEPT_SIZE])
    return problem(payment_not_found(payment_id)) if packet is None else json_answer(packet)


@routes.add(
    "GET",
    "/v1/refunds/{refund_id}/evidence",
    "The evidence of a refund",
    scope=Scope.READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
)
def refund_evidence(call: Call[None]) -> Answer:
    """The packet of one refund."""
    refund_id = call.path["refund_id"]
    packet = call.here.evidence.of_transaction(refund_id, OF_REFUNDS, call[KEPT_SIZE])
    return problem(payment_not_found(refund_id)) if packet is None else json_answer(packet)


@routes.add(
    "GET",
    "/v1/journals/{journal_id}/evidence",
    "The evidence of a journal or a reversal",
    scope=Scope.READ,
    answers={200: EvidencePacket},
    parameters=(KEPT_SIZE,),
)
def journal_evidence(call: Call[None]) -> Answer:
    """The packet of one journal."""
    journal_id = call.path["journal_id"]
    packet = call.here.evidence.of_transaction(journal_id, OF_JOURNALS, call[KEPT_SIZE])
    return problem(journal_not_found(journal_id)) if packet is None else json_answer(packet)


@routes.add(
    "GET",
    "/v1/evidence",
    "The evidence of whatever has an external_id, also of a payment that was refused",
    scope=Scope.READ,
    answers={200: EvidencePacket},
    parameters=(EXTERNAL_ID, OF_ENTITY, KEPT_SIZE),
)
def find_evidence(call: Call[None]) -> Answer:
    """The packet of an external id."""
    external_id: Any = call[EXTERNAL_ID]
    packet = call.here.evidence.of_external_id(call[OF_ENTITY], external_id, call[KEPT_SIZE])
    return problem(payment_not_found(external_id)) if packet is None else json_answer(packet)


@routes.add(
    "GET",
    "/v1/heads",
    "The last signed head of each chain",
    scope=Scope.READ,
    answers={200: SignedHeadBody},
    paged=True,
)
def list_heads(call: Call[None]) -> Answer:
    """The heads, to keep them elsewhere."""
    return json_answer({"data": [head.document() for head in call.here.heads.latest()], "next": None})
