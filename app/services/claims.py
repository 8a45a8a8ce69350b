"""Who used an external id first."""

from collections.abc import Sequence

from app.domain.fingerprints import refuse_reused
from app.domain.payments import CONCLUSIONS
from app.domain.posting import QueuedIntent, by_partition
from app.domain.refusals import Refusal
from app.services.ports.funds import DrainFunds


def claimed_by_others(funds: DrainFunds, queued: Sequence[QueuedIntent]) -> dict[str, Refusal]:
    """The refusals of intents whose external id another partition saw first, with other content, by payment id.

    Whoever sent them was told so; they must not post, nor push the first payment aside.
    """
    claiming = [one for one in queued if one.intent.kind not in CONCLUSIONS]
    elsewhere = funds.claimed_elsewhere(list(by_partition(claiming).items()))
    refused: dict[str, Refusal] = {}
    if not elsewhere:
        return refused
    for one in claiming:
        first = elsewhere.get(one.key)
        if first is None or first == one.place.partition:
            continue
        record = funds.record(first, *one.key)
        if record is not None and record.fingerprint != one.intent.fingerprint:
            refused[one.place.payment_id] = refuse_reused(one.intent, record.fingerprint)
    return refused
