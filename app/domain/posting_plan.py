"""Planning what posting a batch writes to the ledger.

There are two ways to plan a batch, and both end in the same rows:

- `plan_optimistically` plans ordinary payments on rows that the drain remembers, without reading or locking them first.
  It refuses nothing: if the ledger might refuse a payment, there is no plan. A remembered row may be stale, so the
  posting compares every row with what the plan began from, and writes nothing if one differs.
- `plan_posting` decides every intent on rows that the posting has locked.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.authorizations import Authorization, AuthorizationState, authorization_of
from app.domain.hash_chain import TransactionFacts, canonical_entry, canonical_json, hash_transaction
from app.domain.journal_refusals import journal_given_up
from app.domain.ledger_rows import (
    ChainHead,
    Duplicate,
    KnownOutcome,
    LedgerBalance,
    PostingPlan,
    QueuedIntent,
    Rejection,
    RememberedRows,
    journal_key,
    units,
)
from app.domain.payment import CONCLUSIONS, Kind, Leg
from app.domain.posting_checks import refuse_conclusion, refuse_group, refuse_known, refuse_legs
from app.domain.refusals import Refusal
from app.domain.timestamps import from_milliseconds, to_microseconds

_PAYMENT = Kind.PAYMENT.value


def is_ordinary(batch: Sequence[QueuedIntent]) -> bool:
    """Whether a batch has only payments that are captured at once and not linked to others."""
    return all(queued.intent.kind == _PAYMENT and queued.intent.linked is None for queued in batch)


def plan_optimistically(batch: Sequence[QueuedIntent], memory: RememberedRows, now: datetime) -> PostingPlan | None:
    """Plan ordinary payments, in order; None if the ledger might refuse one, or a row is not remembered.

    `now` is the ledger's time. The plan's time is never before a time in a remembered row.
    """
    if not memory.knows_chains(batch):
        return None
    planner = Planner(memory.balances, memory.heads, max(now, memory.latest))
    for queued in batch:
        if refuse_legs(queued.intent, planner.row) is not None:
            return None
        planner.append_payment(queued)
    return planner.plan


def plan_posting(
    batch: Iterable[QueuedIntent],
    known: Mapping[tuple[str, str], KnownOutcome],
    rejected_before: Collection[str],
    balances: dict[str, LedgerBalance],
    heads: dict[int, ChainHead],
    posted_at: datetime,
    authorizations: dict[str, Authorization] | None = None,
    refused: Mapping[str, Refusal] | None = None,
) -> PostingPlan:
    """Decide each intent in order, and an atomic batch as a whole.

    `balances` and `heads` are the locked rows; `authorizations` are those that the batch concludes. All three are
    advanced to their state after the batch. `known` is what the ledger has under the external ids. `rejected_before`
    are payment ids that the ledger has rejected. `refused` says, by payment id, which intents must be rejected
    whatever their rows say.
    """
    decisions = _Decisions(
        Planner(balances, heads, posted_at),
        dict(known),
        rejected_before,
        {} if authorizations is None else authorizations,
        dict(refused or {}),
    )
    for unit in units(batch):
        if len(unit) > 1:
            decisions.refuse_as_one(unit)
        for queued in unit:
            decisions.decide(queued)
    plan = decisions.planner.plan
    balances.update(plan.balances)
    heads.update(plan.heads)
    return plan


class Planner:
    """Turns transactions into rows, and advances copies of the balances and heads that they change."""

    def __init__(
        self, balances: Mapping[str, LedgerBalance], heads: Mapping[int, ChainHead], posted_at: datetime
    ) -> None:
        self.plan = PostingPlan(posted_at)
        self._balances = balances
        self._heads = heads
        self._posted_at_us = to_microseconds(posted_at)
        self.posted_at_ms = self._posted_at_us // 1_000

    def row(self, account_id: str) -> LedgerBalance | None:
        """An account's row as the plan leaves it so far; None if there is none. Not for changing."""
        return self.plan.balances.get(account_id) or self._balances.get(account_id)

    def append_payment(self, queued: QueuedIntent) -> None:
        """Append the transaction of an intent that moves money."""
        intent, outbox_position = queued.intent, queued.outbox_position
        head = self._head(outbox_position.partition)
        accepted_at_us = outbox_position.accepted_at_ms(self.posted_at_ms) * 1_000
        facts = (
            head.partition,
            head.chain_seq + 1,
            intent.entity_id,
            intent.external_id,
            intent.kind,
            queued.payment_id,
            None,
            intent.fingerprint,
            intent.actor,
            intent.description,
            None if intent.metadata is None else canonical_json(intent.metadata),
            accepted_at_us,
            accepted_at_us if intent.effective_at is None else to_microseconds(intent.effective_at),
            self._posted_at_us,
        )
        self.append(facts, intent.legs)
        self.note_posted(queued)

    def append(self, facts: TransactionFacts, legs: Iterable[Leg]) -> None:
        """Append a transaction, and an entry for each leg."""
        head = self._head(facts[0])
        entries = self._append_entries(head, legs)
        transaction_hash = hash_transaction(head.chain_hash, facts, entries)
        self.plan.transactions.append((facts, head.chain_hash, transaction_hash))
        head.chain_seq += 1
        head.chain_hash = transaction_hash
        head.last_posted_at = self.plan.posted_at

    def _append_entries(self, head: ChainHead, legs: Iterable[Leg]) -> str:
        """Append an entry for each leg and advance its account; returns the canonical forms, joined by commas."""
        rows, lines, posted_at_us = self.plan.balances, self.plan.entries, self._posted_at_us
        partition, chain_seq = head.partition, head.chain_seq + 1
        texts = []
        for number, leg in enumerate(legs):
            account_id, amount_minor = leg.account_id, leg.amount_minor
            row = rows.get(account_id) or self._copy_row(account_id)
            row.balance_minor = balance_minor = row.balance_minor + row.normal_sign * amount_minor
            row.entry_count = entry_number = row.entry_count + 1
            row.version += 1
            currency = row.currency_code
            lines.append(
                (account_id, entry_number, partition, chain_seq, number, amount_minor, balance_minor, currency,
                 posted_at_us)
            )  # fmt: skip
            texts.append(canonical_entry(account_id, entry_number, amount_minor, balance_minor, currency))
        return ",".join(texts)

    def change_hold(self, account_id: str) -> None:
        """Note that what is held on an account changes: there is no entry, but a new version."""
        row = self.plan.balances.get(account_id) or self._copy_row(account_id)
        row.version += 1

    def note_posted(self, queued: QueuedIntent) -> None:
        """Note in the head of its chain, and for its record, that the plan has done what an intent asks for."""
        self._head(queued.outbox_position.partition).last_position = queued.outbox_position.stream_id
        self.plan.posted.append(queued)

    def _copy_row(self, account_id: str) -> LedgerBalance:
        """The plan's own copy of a row, which will be changed at the plan's time."""
        row = self._balances[account_id]
        self.plan.balances_before.append(row)
        copy = self.plan.balances[account_id] = LedgerBalance(
            account_id,
            row.entity_id,
            row.currency_code,
            row.normal_sign,
            row.balance_minor,
            row.floor_minor,
            row.version,
            row.entry_count,
            self.plan.posted_at,
        )
        return copy

    def _head(self, partition: int) -> ChainHead:
        """The plan's own copy of a head."""
        copy = self.plan.heads.get(partition)
        if copy is None:
            self.plan.heads_before.append(self._heads[partition])
            copy = self.plan.heads[partition] = replace(self._heads[partition])
        return copy


_STATE_AFTER = {
    Kind.CAPTURE: AuthorizationState.CAPTURED,
    Kind.VOID: AuthorizationState.VOIDED,
    Kind.EXPIRY: AuthorizationState.EXPIRED,
}


@dataclass(slots=True)
class _Decisions:
    """What becomes of the intents of a batch, one after the other; the fields are the arguments of `plan_posting`."""

    planner: Planner
    outcomes: dict[tuple[str, str], KnownOutcome]
    rejected_before: Collection[str]
    authorizations: dict[str, Authorization]
    refused: dict[str, Refusal]

    def decide(self, queued: QueuedIntent) -> None:
        """Post an intent, reject it, or find that the ledger has its outcome already."""
        if queued.outbox_position.payment_id in self.rejected_before:
            self.planner.plan.redelivered.append((queued, False))
        elif queued.intent.kind == Kind.JOURNAL_HOLD:
            self._decide_journal_hold(queued)
        elif queued.intent.kind in CONCLUSIONS:
            self._decide_conclusion(queued)
        else:
            self._decide_payment(queued)

    def _decide_payment(self, queued: QueuedIntent) -> None:
        """Decide a payment or an authorization."""
        known = self.outcomes.get(queued.key)
        if known is not None:
            self._answer_known(queued, known)
            return
        refusal = self._refuse(queued)
        if refusal is not None:
            self._reject(queued, refusal)
            return
        if queued.intent.moves_money:
            self.planner.append_payment(queued)
        else:
            self._authorize(queued)
        payment_id = queued.outbox_position.payment_id
        self.outcomes[queued.key] = KnownOutcome(payment_id, queued.intent.fingerprint, posted=True)

    def _answer_known(self, queued: QueuedIntent, known: KnownOutcome) -> None:
        plan = self.planner.plan
        if known.payment_id == queued.outbox_position.payment_id:
            plan.redelivered.append((queued, True))
            plan.ended |= {known.payment_id} if known.is_concluded else set()
        elif known.posted and queued.intent.has_fingerprint(known.fingerprint):
            plan.duplicates.append(Duplicate(queued, known.payment_id))
        else:
            self._reject(queued, refuse_known(queued.intent, known))

    def _refuse(self, queued: QueuedIntent) -> Refusal | None:
        refusal = self.refused.get(queued.outbox_position.payment_id)
        if refusal is None and queued.intent.kind in CONCLUSIONS:
            refusal = refuse_conclusion(queued.payment_id, self.authorizations.get(queued.payment_id))
        if refusal is None and queued.intent.moves_money:
            refusal = refuse_legs(queued.intent, self.planner.row)
        return refusal

    def _reject(self, queued: QueuedIntent, refusal: Refusal) -> None:
        self.planner.plan.rejections.append(Rejection(queued, refusal))

    # Authorizations

    def _authorize(self, queued: QueuedIntent) -> None:
        authorization = authorization_of(queued, self.planner.posted_at_ms)
        self.authorizations[authorization.payment_id] = authorization
        self.planner.plan.authorized.append(authorization)
        self.planner.change_hold(queued.intent.guarded_account_id)
        self.planner.note_posted(queued)

    def _decide_conclusion(self, queued: QueuedIntent) -> None:
        """Decide a capture, a void or an expiry."""
        authorization = self.authorizations.get(queued.payment_id)
        if authorization is not None and authorization.concluded_by == queued.outbox_position.payment_id:
            self.planner.plan.redelivered.append((queued, True))
            return
        refusal = self._refuse(queued)
        if refusal is not None:
            self._reject(queued, refusal)
            self._release(queued, authorization)
            return
        assert authorization is not None
        if queued.intent.moves_money:
            self.planner.append_payment(queued)
        else:
            self.planner.change_hold(queued.intent.guarded_account_id)
            self.planner.note_posted(queued)
        self._conclude(queued, authorization, _STATE_AFTER[Kind(queued.intent.kind)])

    def _release(self, queued: QueuedIntent, authorization: Authorization | None) -> None:
        """Void the authorization of a rejected capture: the cache has let go of its funds already."""
        account_id = queued.intent.guarded_account_id
        if authorization is None or self.planner.row(account_id) is None:
            return
        if authorization.state is AuthorizationState.AUTHORIZED:
            self._conclude(queued, authorization, AuthorizationState.VOIDED)
            self.planner.change_hold(account_id)

    def _conclude(self, queued: QueuedIntent, authorization: Authorization, state: AuthorizationState) -> None:
        authorization.state = state
        authorization.captured_minor = queued.intent.amount_minor if state is AuthorizationState.CAPTURED else None
        authorization.concluding_actor = queued.intent.actor
        authorization.concluded_by = queued.outbox_position.payment_id
        authorization.concluded_at = from_milliseconds(queued.outbox_position.accepted_at_ms(self.planner.posted_at_ms))
        self.planner.plan.concluded.append(authorization)

    # Atomic batches and journals

    def refuse_as_one(self, group: Sequence[QueuedIntent]) -> None:
        """Refuse all of an atomic batch if one of it must be refused."""
        self.refused |= refuse_group(group, self.outcomes, self.refused, self.planner.row)

    def _decide_journal_hold(self, queued: QueuedIntent) -> None:
        """Decide a hold that its journal did not settle: the journal is in the ledger, or is never posted with it."""
        known = self.outcomes.get(journal_key(queued))
        if known is not None and known.posted and known.fingerprint == queued.intent.fingerprint:
            self.planner.plan.redelivered.append((queued, True))
        else:
            self._reject(queued, journal_given_up(journal_key(queued)[1]))
