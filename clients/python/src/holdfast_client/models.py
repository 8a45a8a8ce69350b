"""The bodies of requests and answers. `generate.py` makes this file; do not edit it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from holdfast_client.ids import new_external_id

AccountType: TypeAlias = Literal["asset", "equity", "expense", "liability", "revenue"]
"""The five classes of double-entry bookkeeping."""

AccountStatus: TypeAlias = Literal["closed", "frozen", "frozen_credits", "frozen_debits", "open"]
"""Whether money may move on an account."""

AcknowledgedStatus: TypeAlias = Literal["authorized", "dry_run", "pending", "posted"]
"""Where a payment stands when it is answered; `dry_run`: there is none, only what it would do."""

Durability: TypeAlias = Literal[
    "cache_fsync_always", "cache_fsync_everysec", "cache_memory_only", "cache_unknown", "ledger", "none"
]
"""What the present status of a payment survives: the ledger keeps it, or only the cache, by its setting.

A dry run leaves nothing that could be lost.
"""

TimeBasis: TypeAlias = Literal["effective", "posted"]
"""Which of an entry's two times counts: when it takes effect, or when it was posted."""

Direction: TypeAlias = Literal["credit", "debit"]
"""The side of an entry."""

WrittenStatus: TypeAlias = Literal["dry_run", "posted"]
"""Whether it is in the ledger, or what a dry run would post."""

Cardinality: TypeAlias = Literal["1:1", "1:N", "N:1"]
"""How many lines a match has, and how many entries."""

PaymentStatus: TypeAlias = Literal["authorized", "captured", "expired", "pending", "posted", "rejected", "voided"]
"""Where a payment stands."""

ReadinessStatus: TypeAlias = Literal["degraded", "not_ready", "ready"]
"""Whether payments are taken; `degraded`: they are, but something that is not required fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account. `overdraft_limit_minor` in minor units; null is no floor."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    name: str | None
    overdraft_limit_minor: int | None
    status: AccountStatus
    metadata: dict[str, Any] | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgedPayment:
    """An accepted payment. `durability` says what the acknowledgement survives; `version` is the guarded account's.

    In a dry run there is no payment: no id, the status `dry_run`, and `funds` and `version` as the payment would leave
    them, if the key has the scope `accounts:read`.
    """

    payment_id: str | None
    external_id: str
    status: AcknowledgedStatus
    durability: Durability
    version: int | None
    source_account_id: str
    destination_account_id: str | None
    amount_minor: int
    currency_code: str
    description: str | None
    effective_at: datetime | None
    metadata: dict[str, Any] | None
    accepted_at: datetime | None
    destinations: list[Destination] | None = None
    expires_at: datetime | None = None
    funds: FundsAfter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What one destination of a split gets; minor units."""

    account_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundsAfter:
    """What a dry run would leave on the guarded account, in minor units."""

    account_id: str
    balance_minor: int
    held_minor: int
    floor_minor: int | None
    available_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ageing:
    """Open breaks of one account in one currency; both are null for breaks about no account.

    The sum adds differences in minor units without their sign.
    """

    source: Literal["inside", "outside"]
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    under_1_day: int
    from_1_to_3_days: int
    from_3_to_7_days: int
    over_7_days: int
    breaks: int
    overdue: int
    without_owner: int
    sum_minor: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The process answers."""

    status: Literal["alive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A unit that accounts are kept in: a currency of ISO 4217, or a registered asset.

    The ledger keeps a currency's minor units from its first account on, whatever later editions of ISO 4217 say. So
    `iso_4217` says that it is a currency of the standard, or was one when the first account was made in it.
    """

    currency_code: str
    minor_units: int
    name: str
    iso_4217: bool
    registered_at: datetime | None
    registered_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One record: a call of the API, or a change by a command or by the clock.

    `action` is what was changed, null where nothing was. `duration_us` is the time until the answer, in microseconds;
    of a change, until it was recorded or accepted. `calls` is more than 1 where calls were only counted.
    """

    audit_id: str
    called_at: datetime
    recorded_at: datetime
    request_id: str | None
    action: str | None
    actor: str | None
    key_id: str | None
    entity_id: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: str | None
    duration_us: int | None
    account_id: str | None
    payment_id: str | None
    external_id: str | None
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDetail:
    """A record with request and answer: up to 8 KiB of each, secrets redacted, what is not UTF-8 escaped.

    Their whole lengths are in bytes. Of a payment, the answer is what the ledger says of it now, and the request is not
    repeated: the ledger has all of it.
    """

    audit_id: str
    called_at: datetime
    recorded_at: datetime
    request_id: str | None
    action: str | None
    actor: str | None
    key_id: str | None
    entity_id: str | None
    ip: str | None
    method: str | None
    route: str | None
    path: str | None
    status: int | None
    code: str | None
    duration_us: int | None
    account_id: str | None
    payment_id: str | None
    external_id: str | None
    calls: int
    request: str | None
    request_bytes: int | None
    response: str | None
    response_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceAt:
    """An account's balance in the ledger at an instant, in minor units, by effective or by posted time."""

    account_id: str
    entity_id: str
    balance_minor: int
    currency_code: str
    at: datetime
    by: TimeBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account's funds in minor units: available = balance − held − floor; without a floor balance − held."""

    account_id: str
    entity_id: str
    balance_minor: int
    held_minor: int
    available_minor: int
    currency_code: str
    version: int
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSheets:
    """The balance sheet of each currency. Results of before `from` stand apart; without `from` there are none."""

    as_of: datetime | None
    period_begins_at: datetime | None
    by: TimeBasis
    data: list[BalanceSheet]


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSheet:
    """One currency; minor units, each type on its own side.

    Assets equal liabilities, equity, the result brought forward and that of the period; `difference_minor` is what they
    exceed them by.
    """

    currency_code: str
    asset_minor: int
    liability_minor: int
    equity_minor: int
    brought_forward_minor: int
    result_minor: int
    difference_minor: int
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a statement says beyond the trial balance at the same moment, minor units: zeros where it is proved."""

    proved: bool
    revenue_difference_minor: int
    expense_difference_minor: int
    trial_balance_difference_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The answers, in the order of the payments."""

    data: list[BatchItem]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One payment's answer: the status it would have got alone, and the payment or the problem."""

    status: int
    replayed: bool
    payment: AcknowledgedPayment | None = None
    problem: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """The answer to one line of a stream (`application/x-ndjson`: one payment a line), by its number from 1.

    Blank lines have no answer. Answers come while lines are sent, some hundred at a time: read while you send, and do
    not wait for an answer before 64 KiB more are sent or the stream has ended. While the ledger is behind, or the
    cache does not answer, the stream waits, up to 30 s without progress; then what is left answers 503. After a
    break send the same lines again: what was done is answered as a replay.

    A stream has no `atomic` and no dry run: its lines are decided some hundred at a time, and in a dry run the later
    ones would not see the earlier ones. Rehearse them as batches.
    """

    status: int
    replayed: bool
    payment: AcknowledgedPayment | None = None
    problem: dict[str, Any] | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One break. Amounts are in minor units, null where a side says nothing; the difference is the other side less the
    ledger. Of the ledger with itself, the ledger's side is what its entries say.

    `figures` are those of its kind. The runs are null for a break from outside.
    """

    break_id: str
    source: Literal["inside", "outside"]
    kind: str
    subject: str
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    ledger_minor: int | None
    other_minor: int | None
    difference_minor: int | None
    figures: dict[str, Any]
    evidence: list[BreakEvidence]
    state: Literal["accepted", "investigating", "open", "resolved"]
    owner: str | None
    reason_code: str | None
    due_at: datetime | None
    overdue: bool
    repairable: bool
    first_run_id: str | None
    last_run_id: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvidence:
    """One thing that proves or explains a break: an account, an entry (`account#number`), a payment and so on."""

    kind: Literal["account", "entry", "payment", "statement", "statement_line", "transaction"]
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakDetail:
    """A break with its history, oldest first, and the repairs that were asked for it."""

    break_id: str
    source: Literal["inside", "outside"]
    kind: str
    subject: str
    account_id: str | None
    entity_id: str | None
    currency_code: str | None
    ledger_minor: int | None
    other_minor: int | None
    difference_minor: int | None
    figures: dict[str, Any]
    evidence: list[BreakEvidence]
    state: Literal["accepted", "investigating", "open", "resolved"]
    owner: str | None
    reason_code: str | None
    due_at: datetime | None
    overdue: bool
    repairable: bool
    first_run_id: str | None
    last_run_id: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    settled_at: datetime | None
    history: list[BreakEvent]
    repairs: list[ProofRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEvent:
    """One event of a break's history, with owner, reason and due date as they were after it.

    `action` is null in events from before these were kept, which tell the state only.
    """

    event_id: str
    actor: str
    action: Literal["changed", "commented", "opened", "repair_asked", "repaired"] | None
    state: Literal["accepted", "investigating", "open", "resolved"]
    owner: str | None
    reason_code: str | None
    due_at: datetime | None
    comment: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRequest:
    """What was asked of the reconciliation. `state` is waiting, under_way, or what has come of it; `run_id` is then the
    run that shows it.
    """

    request_id: str
    mode: Literal["full", "incremental", "repair"]
    break_id: str | None
    account_id: str | None
    reason: str
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    state: Literal["done", "failed", "refused", "under_way", "waiting"]
    run_id: str | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """A recorded change: who, when, why, and the changed fields before and after."""

    change_id: int
    account_id: str
    changed_by: str
    changed_at: datetime
    reason: str | None
    forced: bool
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOfAccount:
    """Changes to an account; fields that are left out stay. A new limit or status needs a `reason`.

    `overdraft_limit_minor`: minor units below zero; null is no floor. A limit below what is in use needs `force`.
    `metadata` is replaced as a whole. With `If-Match` and the ETag of the account, a change is refused with 412 if
    the account has been changed since; a repeat of a change that is in force is not.
    """

    overdraft_limit_minor: int | None = None
    status: AccountStatus | None = None
    name: str | None = None
    metadata: dict[str, Any] | None = None
    reason: str | None = None
    force: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOfBreak:
    """Changes to a break; fields that are left out stay. A comment may come alone.

    `owner` is a user who may work on breaks, null for nobody. To settle a break as resolved or accepted takes a
    `reason_code`, now or before, and a comment. A settled break takes comments only.
    """

    state: Literal["accepted", "investigating", "open", "resolved"] | None = None
    owner: str | None = None
    reason_code: str | None = None
    due_at: datetime | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """How often posting had to retry for an account, and how often it ran out of retries."""

    account_id: str
    retries: int
    exhausted: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictHour:
    """What was counted for an account in the hour that begins at `hour`: retries, and how long postings waited, in ms.

    In one hour up to 200 accounts are told apart; the others are added up as `(others)`. Counts are kept for a month.
    """

    hour: datetime
    account_id: str
    retries: int
    exhausted: int
    queued_ms: int
    longest_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """The proof that a chain's first `from_size` transactions are the beginning of its first `to_size` (RFC 6962)."""

    format: str
    ledger_id: str
    partition: int
    from_size: int
    to_size: int
    hashes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that was tried for three days and is given up. `sequence` is its cursor in the feed."""

    event_id: str
    event_type: str
    sequence: str
    attempts: int
    first_failed_at: datetime
    given_up_at: datetime
    last_failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt to deliver an event. `status` is null where there was no answer, and `answer` then says why."""

    delivery_id: str
    event_id: str
    event_type: str
    sequence: str
    number: int
    url: str
    started_at: datetime
    duration_ms: int
    status: int | None
    answer: str
    delivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One immutable line of an account, on one side, with the balance after it; minor units."""

    entry_number: int
    direction: Direction
    amount_minor: int
    balance_minor: int
    currency_code: str
    payment_id: str
    external_id: str
    kind: Literal["capture", "journal", "payment", "refund", "reversal"]
    description: str | None
    posted_at: datetime
    effective_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in order. `next` is the cursor to go on with, also where there are none.

    `is_end`: there was nothing after them. A page may be empty before the end, if few of the events are wanted.
    """

    data: list[Event]
    next: str
    is_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as CloudEvents 1.0 has it. `id` never changes: who meets one again has had it.

    `sequence` is its cursor. `data` has the `version` of what `subject` names, which grows with each event of it, and
    all that the event tells; amounts in minor units.
    """

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    sequence: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A chain at a moment, signed: its size, the hash of its last transaction, and the root of its Merkle tree."""

    format: str
    ledger_id: str
    partition: int
    chain_seq: int
    chain_hash: str
    merkle_root: str
    signed_at: datetime
    key_id: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A public key (Ed25519, hexadecimal), signed by the key that endorses it, the first one by itself."""

    format: str
    ledger_id: str
    key_id: str
    public_key: str
    introduced_at: datetime
    endorsed_by: str | None
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeStatements:
    """The income statement of each currency in which there are revenue or expense accounts with entries."""

    period_begins_at: datetime | None
    period_ends_at: datetime | None
    by: TimeBasis
    data: list[IncomeStatement]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomeStatement:
    """One currency; minor units. The result is revenue less expenses; `accounts` are up to `limit` with a movement."""

    currency_code: str
    revenue_minor: int
    expense_minor: int
    result_minor: int
    account_count: int
    accounts: list[ResultAccount]
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAccount:
    """A revenue or expense account on its own side: before the period, in it, and at its end; minor units."""

    account_id: str
    entity_id: str
    type: AccountType
    opening_minor: int
    movement_minor: int
    closing_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A new API key. `key` is its only copy: it is shown once, and the ledger keeps a hash of its secret."""

    key_id: str
    name: str
    status: Literal["active", "expired", "revoked"]
    scopes: list[str]
    entities: list[str] | None
    rate_limit: RateLimit | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rotated_from: str | None
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests a key may make: so many a second for long, and up to `burst` at once.

    A batch and a stream are one request.
    """

    requests_per_second: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedWebhook:
    """An endpoint with its secret, which is shown once. Messages are signed as Standard Webhooks says."""

    endpoint_id: str
    name: str
    url: str
    types: list[str] | None
    account_id: str | None
    entities: list[str] | None
    ordered: bool
    state: Literal["deleted", "disabled", "enabled", "gone"]
    sequence: str
    created_by: str
    created_at: datetime
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """A journal or a reversal in the ledger. A dry run writes none: no id, no times, the status `dry_run`."""

    journal_id: str | None
    external_id: str
    status: WrittenStatus
    kind: Literal["journal", "reversal"]
    entity_id: str
    reason: str | None
    entries: list[JournalEntry]
    effective_at: datetime | None
    posted_at: datetime | None
    metadata: dict[str, Any] | None
    reverses: str | None
    reversed_by: str | None
    relates_to_payment_id: str | None
    ledger_transaction: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One entry in the ledger, with the balance after it if the caller may read balances; minor units."""

    account_id: str
    entry_number: int
    direction: Direction
    amount_minor: int
    currency_code: str
    balance_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key without its secret. `entities` is null for a key that may act for all; `last_used_at` is exact to the
    minute; `status` is active, expired or revoked.
    """

    key_id: str
    name: str
    status: Literal["active", "expired", "revoked"]
    scopes: list[str]
    entities: list[str] | None
    rate_limit: RateLimit | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rotated_from: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A match: lines and entries that are the same movement.

    `figures` tell the rule as it was, the key, and the days between; of a match by hand, the reason. `settled_on` is
    the last day of both sides. `former_match_id` is the match that it takes the place of.
    """

    match_id: str
    state: Literal["matched", "suggested", "undone"]
    rule: str
    figures: dict[str, Any]
    lines_minor: int
    entries_minor: int
    difference_minor: int
    settled_on: str
    lines: list[MatchLine]
    entries: list[MatchEntry]
    former_match_id: str | None
    journal_id: str | None
    made_by: str
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchLine:
    """A line of a statement; minor units, money in is positive."""

    statement_line_id: str
    booked_on: str
    amount_minor: int
    reference: str
    counterparty: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchEntry:
    """An entry of the ledger; minor units, a debit is positive."""

    entry_number: int
    effective_on: str
    amount_minor: int
    external_id: str
    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchDecision:
    """Why a match is confirmed or undone; it is kept."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchJournal:
    """The account that takes what the sides of a match differ by."""

    journal_account_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchPart:
    """The lines and entries that stay together."""

    line_ids: list[str]
    entry_numbers: list[int]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRun:
    """What a run has done; a trial has no id.

    `agreeing` are matches of a trial that stand already; `examples` are some of its matches.
    """

    match_run_id: str | None
    line_count: int
    entry_count: int
    matched: int
    suggested: int
    by_rule: dict[str, Any]
    new_unmatched: int
    settled_unmatched: int
    unmatched: dict[str, Any]
    agreeing: int
    examples: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A monitor. `is_met`: whether its condition holds, by the last event that was looked at."""

    monitor_id: str
    account_id: str
    measure: Literal["available", "balance", "held"]
    comparison: Literal["above", "below"]
    threshold_minor: int
    name: str
    is_met: bool
    created_by: str
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account to create. `overdraft_limit_minor`: minor units below zero; null is no floor.

    Without `entity_id` it belongs to the entity of the key, if that may act for one only, else to `default`.
    """

    account_id: str
    type: AccountType
    currency_code: str
    entity_id: str | None = None
    name: str | None = None
    overdraft_limit_minor: int | None = None
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset:
    """An asset to register. `minor_units` is the number of decimal places of one unit; it never changes."""

    currency_code: str
    minor_units: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """Payments to make, in order, up to 5,000.

    `atomic`: all or none, which needs all guarded accounts in one partition. If one fails nothing is written, not even
    a refusal, so the same batch may be sent again; the failed payment answers with its own code, the others with
    `linked_payment_failed`, and `failed_index` (from 0) names it. The ledger too posts all or rejects all.

    While the ledger is behind, a large batch waits up to 5 s before it is decided. Nothing is moved until then.
    """

    payments: list[NewPayment]
    atomic: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """A payment to make: debit the source, credit the destination or several. `amount_minor` in minor units.

    It has exactly one of `destination_account_id` and `destinations`.

    With `capture: 'manual'` the funds are only held, until the payment is captured, voided, or expires after
    `expires_in_s` seconds.
    """

    external_id: str = field(default_factory=new_external_id)
    source_account_id: str
    amount_minor: int
    currency_code: str
    destination_account_id: str | None = None
    destinations: list[SplitPart] | None = None
    description: str | None = None
    effective_at: datetime | None = None
    expected_version: int | None = None
    metadata: dict[str, Any] | None = None
    capture: Literal["automatic", "manual"] | None = None
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPart:
    """One destination of a split: exactly one of a fixed amount (minor units), a share, or the remainder.

    `share` is a decimal string up to "1" with at most six places; shares are rounded by largest remainder.
    """

    account_id: str
    amount_minor: int | None = None
    share: str | None = None
    remainder: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCapture:
    """How much to capture, in minor units; `{}` or no body is all of it."""

    amount_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJournal:
    """Entries to post together, each account once; debits and credits are equal in each currency.

    `effective_at` says as of when reports count it, in the past or in the future. It delays nothing: the balances
    change, and what is credited can be spent, when the journal is posted. Post later what must not be spent yet.

    `relates_to_payment_id` names a payment that the journal gives back, in whole or in part: what it credits to the
    payment's source can no longer be refunded.
    """

    external_id: str = field(default_factory=new_external_id)
    entries: list[NewJournalEntry]
    reason: str
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = None
    relates_to_payment_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJournalEntry:
    """One entry to post; minor units of the account's currency."""

    account_id: str
    direction: Direction
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to make. Without `entities` it reaches those of the key that makes it; that may be all of them.

    A key of some entities sees nothing of any other. `expires_at` is null for a key that does not expire.
    """

    name: str
    scopes: list[str]
    entities: list[str] | None = None
    expires_at: datetime | None = None
    rate_limit: RateLimit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMatch:
    """Lines and entries that are the same movement; both sides add up to the same.

    `journal_account_id`: what they differ by is posted as a journal between this account and the account of the bank.
    `accepts_difference`: it stays.
    """

    line_ids: list[str]
    entry_numbers: list[int]
    reason: str
    journal_account_id: str | None = None
    accepts_difference: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMatchRun:
    """A run of the saved rules; or a trial of other `rules` on everything that was stated, which stores nothing."""

    rules: list[NewMatchingRule] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMatchingRule:
    """A rule by which lines are matched with entries; no two have the same name.

    Days may differ by `days`, and amounts by `tolerance_minor`; what they differ by belongs to `fee_account_id`.
    `kinds` are the kinds of lines that it is for, all if empty. `suggests`: a person decides.

    Without `fields` only one line and one entry of the same amount match. A fee account needs a tolerance.
    """

    name: str
    fields: dict[str, Any] | None = None
    days: int | None = None
    tolerance_minor: int | None = None
    fee_account_id: str | None = None
    cardinality: Cardinality | None = None
    kinds: list[str] | None = None
    suggests: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMonitor:
    """A condition on an account's funds in the ledger, in minor units: `monitor.crossed` tells when it turns.

    At the threshold itself it does not hold. If it holds already, nothing is told before it has ceased to.
    """

    account_id: str
    measure: Literal["available", "balance", "held"]
    comparison: Literal["above", "below"]
    threshold_minor: int
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefund:
    """How much of a payment to take back, in minor units; all that remains by default."""

    external_id: str = field(default_factory=new_external_id)
    amount_minor: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRepair:
    """A repair to ask for: why, which is kept for ever, and the token of the preview that was seen."""

    reason: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReversal:
    """The opposite of a journal, once. It takes effect when it is posted, but never before the journal does."""

    external_id: str = field(default_factory=new_external_id)
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRotation:
    """How long the rotated key stays valid beside its successor; with 0 it ends at once."""

    overlap_hours: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to ask for: over what is new and what open breaks are about, or over everything."""

    mode: Literal["full", "incremental"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """How long messages are signed with the former secret too."""

    overlap_hours: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSignOff:
    """Sign off everything after what is signed, through `last_on`. A `remark` is kept with it."""

    last_on: str
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStatementAccount:
    """Which account of the ledger the account of a source is.

    Matching begins with `starts_on`, without it with the first day of the statements. `rules` are tried in order after
    the reference; without them, the same amount within 3 days is suggested.
    """

    source_name: str
    account_ref: str
    currency_code: str
    account_id: str
    starts_on: str | None = None
    rules: list[NewMatchingRule] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStatementImport:
    """A file to import, in Base64. `trial`: read and judge everything, and store nothing.

    `accepts_differences`: store a CSV file although its running balance contradicts its lines.
    """

    source_name: str
    file_name: str
    content: str
    trial: bool | None = None
    accepts_differences: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStatementSource:
    """A source to save. `options` say how its files are written; a CSV source needs its columns."""

    name: str
    format: Literal["camt", "csv", "mt940", "ofx", "stripe"]
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWebhook:
    """An endpoint to tell of events from now on; without `types` or `account_id` of all that the key may see.

    `ordered`: an event is sent only after all earlier ones of each of its accounts were taken, or given up.
    """

    url: str
    name: str | None = None
    types: list[str] | None = None
    account_id: str | None = None
    ordered: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as it stands now: pending, posted or rejected; or authorized, captured, voided or expired.

    Of an authorization `amount_minor` stays what was authorized; `captured_minor` is what was taken of it, and
    `destinations` then say what each got. Once it is in the ledger, `refunded_minor` is what refunds, and journals
    that name it, have given back of it, and `refundable_minor` what remains.
    """

    payment_id: str | None
    external_id: str
    status: PaymentStatus
    durability: Durability | None = None
    source_account_id: str | None = None
    destination_account_id: str | None = None
    amount_minor: int | None = None
    captured_minor: int | None = None
    refunded_minor: int | None = None
    refundable_minor: int | None = None
    currency_code: str | None = None
    destinations: list[Destination] | None = None
    description: str | None = None
    effective_at: datetime | None = None
    metadata: dict[str, Any] | None = None
    accepted_at: datetime | None = None
    expires_at: datetime | None = None
    concluded_at: datetime | None = None
    posted_at: datetime | None = None
    rejected_at: datetime | None = None
    entries: list[PaymentEntry] | None = None
    ledger_transaction: str | None = None
    duplicate_of: str | None = None
    reason: Rejection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentEntry:
    """One side of a posted payment, with the balance after it if the caller may read balances; minor units."""

    account_id: str
    entry_number: int
    direction: Direction
    amount_minor: int
    balance_minor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a payment was rejected."""

    code: str
    detail: str
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Both sides of a period: opening + movements = closing, and what explains the difference; minor units.

    `opening` says whether the bank states its opening balance, or it is derived from the first closing one, or assumed.
    `missing` says what bars a signature. `figures` are all that would be signed, with each day and what is
    outstanding.
    """

    first_on: str
    last_on: str
    opening: str
    bank_opening_minor: int
    bank_in_minor: int
    bank_out_minor: int
    bank_closing_minor: int
    ledger_opening_minor: int
    ledger_in_minor: int
    ledger_out_minor: int
    ledger_closing_minor: int
    only_bank_minor: int
    only_ledger_minor: int
    match_difference_minor: int
    brought_forward_minor: int
    unexplained_minor: int
    outstanding_count: int
    missing: list[str]
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One code of the catalogue; the order is that of precedence."""

    code: str
    status: int
    retryable: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A journal or a reversal that waits for a second person, or what was decided of it.

    `journal_id` is what it has become in the ledger; null unless it was approved.
    """

    proposal_id: str
    kind: Literal["journal", "reversal"]
    state: Literal["approved", "returned", "waiting", "withdrawn"]
    external_id: str
    entity_id: str
    reason: str
    entries: list[ProposedEntry]
    effective_at: datetime | None
    metadata: dict[str, Any] | None
    relates_to: str | None
    entered_by: str
    entered_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None
    journal_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedEntry:
    """One entry that would be posted; minor units."""

    account_id: str
    direction: Direction
    amount_minor: int
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Whether payments can be accepted, and what an acknowledgement survives.

    `status` is `degraded` if only a check fails without which payments are posted more slowly, or webhooks told later.
    `backlog` is how many intents wait for the ledger, null while the cache does not answer.
    """

    status: ReadinessStatus
    durability: Durability
    backlog: int | None
    checks: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of readiness."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund in the ledger; minor units. A dry run writes none: no id, no time, the status `dry_run`."""

    refund_id: str | None
    payment_id: str
    external_id: str
    amount_minor: int
    currency_code: str
    status: WrittenStatus
    reason: str | None
    entries: list[JournalEntry]
    posted_at: datetime | None
    ledger_transaction: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopening:
    """Why the last signed period is opened again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPreview:
    """An account in the cache as it is and as a repair would make it. Nothing is changed yet.

    `now` is null where the cache does not have the account, `then` where the ledger does not. The ledger's balance is
    taken at the entry that the cache knows. `holds` stay or come back, by payment id, and nothing explains those
    that are `freed`. `token` stands for all of it: ask for the repair with it. While the ledger itself is
    `in_doubt`, nothing is repaired.
    """

    break_id: str
    account_id: str
    currency_code: str | None
    at_entry: int | None
    now: Funds | None
    then: Funds | None
    holds: dict[str, Any]
    freed: dict[str, Any]
    in_doubt: bool
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """An account's funds, in minor units; the floor is null where there is none."""

    balance_minor: int
    held_minor: int
    floor_minor: int | None
    available_minor: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """Which dead letters to send again; without `event_ids`, all of them."""

    event_ids: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resent:
    """How many dead letters are sent again."""

    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. `checked` counts what it has looked at so far, `expected` what it set out to; `asked_by` is null for a
    run that was due. `state` is `broken_off` where the process of a run must be gone.
    """

    run_id: str
    mode: Literal["full", "identity", "incremental"]
    state: Literal["broken_off", "finished", "under_way"]
    started_at: datetime
    heard_at: datetime | None
    finished_at: datetime | None
    asked_by: str | None
    checked: dict[str, Any]
    expected: dict[str, Any]
    break_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """A record of the chain of an account: a signed period, or its reopening.

    A new version names the old one by `former_id`. `hash` covers all of it and `previous_hash`, the record before.
    """

    sign_off_id: str
    number: int
    action: Literal["reopened", "signed"]
    first_on: str
    last_on: str
    version: int
    former_id: str | None
    signed_through: str | None
    summary: dict[str, Any]
    reason: str
    signed_by: str
    signed_at: datetime
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementAccount:
    """A statement account with the setup in force. Each change makes a new version; matches name theirs.

    `signed_through` is the last day that is signed off.
    """

    statement_account_id: str
    source_name: str
    account_ref: str
    currency_code: str
    account_id: str
    version: int
    starts_on: str
    rules: list[MatchingRule]
    signed_through: str | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingRule:
    """A saved rule."""

    name: str
    fields: dict[str, Any]
    days: int
    tolerance_minor: int
    fee_account_id: str
    cardinality: Cardinality
    kinds: list[str]
    suggests: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement; amounts in minor units, days as the bank wrote them.

    `line_count` and `lines_minor` are of the file; `added_count` of its lines were new and are read below it.
    `difference_minor` is closing minus opening minus lines, null where the bank states no balances; `missing` says
    why a statement is not provable.
    """

    statement_id: str
    import_id: str
    source_name: str
    account_ref: str
    currency_code: str
    minor_units: int
    name: str
    first_on: str | None
    last_on: str | None
    opening_minor: int | None
    opening_on: str | None
    closing_minor: int | None
    closing_on: str | None
    line_count: int
    lines_minor: int
    added_count: int
    refused_count: int
    not_booked_count: int
    page_count: int
    proof: Literal["differs", "not_provable", "proven"]
    difference_minor: int | None
    missing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementImport:
    """What has become of a file.

    `import_id` is null if nothing was stored, in a trial or because of `withheld`; `earlier_import_id` says that the
    same file was imported before and was not read again. `late` says which lines fall in a period that is signed
    off.
    """

    import_id: str | None
    earlier_import_id: str | None
    withheld: str
    line_count: int
    added_count: int
    known_count: int
    reused_count: int
    refused_count: int
    explained_payouts: int
    late: list[str]
    proofs: list[str]
    breaks: list[StatementBreak]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementBreak:
    """Something wrong with an imported file: where, and what."""

    kind: Literal["balance_differs", "id_reused", "line_refused", "payout_differs"]
    line: int
    position: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One movement as the bank states it; minor units, money in is positive.

    `line` and `position` say where it stands in its file. `line_id` is the bank's id, null where it has none;
    `batch_id` is the payout or the batch booking that it is part of.
    """

    statement_line_id: str
    line: int
    position: int
    booked_on: str
    value_on: str | None
    amount_minor: int
    line_id: str | None
    kind: str
    reference: str
    batch_id: str | None
    counterparty: str
    text: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSource:
    """A source of statements. A change makes a new version; earlier imports name the version they were read with."""

    name: str
    version: int
    format: Literal["camt", "csv", "mt940", "ofx", "stripe"]
    options: dict[str, Any]
    created_by: str
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalance:
    """Totals over all accounts asked for, and one page of them.

    The pages of a walk are all of the moment of its first page, so their lines add up to the totals however much is
    posted meanwhile. A walk that begins without `after` begins at a new moment.
    """

    totals: list[TrialBalanceTotal]
    data: list[TrialBalanceLine]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceTotal:
    """One currency's totals in minor units; a balanced ledger has a difference of zero."""

    currency_code: str
    debit_minor: int
    credit_minor: int
    difference_minor: int
    account_count: int
    balanced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceLine:
    """One account, its balance on its own side; minor units."""

    account_id: str
    entity_id: str
    type: AccountType
    currency_code: str
    debit_minor: int
    credit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A line or an entry without a match, and why it may be so; one whose amount differs has both.

    `resembles` says what it repeats or takes back. State and owner are those of its break.
    """

    unmatched_item_id: str
    reason: Literal["amount_differs", "duplicate", "fee", "missing_here", "missing_there", "reversed", "timing"]
    booked_on: str
    amount_minor: int
    other_minor: int | None
    resembles: str
    line: MatchLine | None
    entry: MatchEntry | None
    break_id: str | None
    state: Literal["accepted", "investigating", "open", "resolved"]
    owner: str | None
    first_seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint. `state` is enabled, disabled, or gone: it has answered 410. `sequence`: up to where it was told."""

    endpoint_id: str
    name: str
    url: str
    types: list[str] | None
    account_id: str | None
    entities: list[str] | None
    ordered: bool
    state: Literal["deleted", "disabled", "enabled", "gone"]
    sequence: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """What is to change. An endpoint that is disabled is told afterwards of what has happened meanwhile."""

    url: str | None = None
    name: str | None = None
    types: list[str] | None = None
    state: Literal["disabled", "enabled"] | None = None
