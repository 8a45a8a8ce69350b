"""What pages say of a break: a headline with its figures, what it means, and what can be done about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.dashboard.formats import MINUS, money, words
from app.domain.break_workflow import BreakEvent, BreakRecord, BreakState, EventAction
from app.domain.breaks import BreakKind
from app.domain.found_breaks import BreakSource

_WITH_AMOUNTS = {
    BreakKind.CACHE_BALANCE: "The cache has {more} than the ledger on {about}",
    BreakKind.CACHE_AHEAD: "The cache has {more} than the ledger on {about}",
    BreakKind.HELD_NOT_SUM: "The cache says {more} is held than the holds add up to on {about}",
    BreakKind.BALANCE_NOT_SUM: "The ledger’s balance of {about} is {more} than its entries add up to",
    BreakKind.ENTRY_RUNNING_BALANCE: "An entry of {about} leaves {more} than follows from the one before",
    BreakKind.TRIAL_BALANCE: "Debits and credits differ by {amount} in {about}",
}
"""Where both amounts are known."""

_HEADLINES = {
    BreakKind.CACHE_BALANCE: "The cache and the ledger differ on {about}",
    BreakKind.CACHE_AHEAD: "The cache is ahead of the ledger on {about}",
    BreakKind.CACHE_BEHIND: "The cache has stayed behind the ledger on {about}",
    BreakKind.CACHE_FLOOR: "The cache guards another limit than the ledger on {about}",
    BreakKind.HELD_NOT_SUM: "Holds do not add up on {about}",
    BreakKind.HOLD_WITHOUT_INTENT: "A hold on {about} that nothing explains",
    BreakKind.AUTHORIZATION_WITHOUT_HOLD: "An authorization on {about} has no hold in the cache",
    BreakKind.INTENT_WITHOUT_HOLD: "A payment on its way from {about} does not hold its amount",
    BreakKind.CACHE_LOST: "The cache was lost and opened again from the ledger",
    BreakKind.BALANCE_NOT_SUM: "The ledger’s balance of {about} is not the sum of its entries",
    BreakKind.ENTRY_GAP: "Entries of {about} are missing or counted wrongly",
    BreakKind.ENTRY_RUNNING_BALANCE: "An entry of {about} does not follow from the one before",
    BreakKind.ORPHAN_ENTRY: "Entries without their account or transaction: {about}",
    BreakKind.ENTRY_MISMATCH: "An entry contradicts its account or transaction: {about}",
    BreakKind.TRANSACTION_UNBALANCED: "Transaction {about} does not balance",
    BreakKind.TRIAL_BALANCE: "Debits and credits differ in {about}",
    BreakKind.CHAIN_HASH: "Transaction {about} is not what was sealed",
    BreakKind.CHAIN_LINK: "The chain is broken at {about}",
    BreakKind.CHAIN_HEAD: "A chain does not end where its head says: {about}",
    BreakKind.CHAIN_TIME: "Transaction {about} is dated before the one before it, or in the future",
}

_OF_CACHE = "The ledger is right, as far as open breaks tell; only the cache differs."
_BESIDE_LEDGER = (
    "The ledger itself has an open break, so it does not decide which of the two is right. Settle that first."
)
_AT_RISK = (
    "A payment might be acknowledged or refused on a wrong balance. The ledger would reject what is not covered, so no "
    "money leaves that is not there."
)
_OF_LEDGER = (
    "The ledger contradicts itself: it was changed past the program, or restored in part. Nothing is rebuilt from it "
    "until this is settled, and no page mends it: a ledger is corrected by a reversal, or by its owner from a backup. "
    "Kept heads and evidence packets show what it was."
)
_SETTLED = {
    BreakState.RESOLVED: (
        "The difference is gone. The figures are those of the finding; while it lasted, payments may have been decided "
        "on the wrong one. The history says how it ended."
    ),
    BreakState.ACCEPTED: "Somebody has accepted the difference and answers for it; the history says who, and why.",
}
_LOST = "The figures name the acknowledged payments that were lost with the cache, as far as they are known."
_OF_STATEMENTS = "The ledger and the other side do not say the same. Find out which of the two is right."

_MEANINGS = {
    BreakKind.CACHE_FLOOR: (
        "The cache guards another limit than the account has. Payments may be allowed or refused by it."
    ),
    BreakKind.HELD_NOT_SUM: (
        "Of two figures in the cache one is wrong, and what can be spent may be told by the wrong one."
    ),
    BreakKind.HOLD_WITHOUT_INTENT: (
        "Funds are held for a payment that is neither on its way nor authorized: the account has less to spend than "
        "there is."
    ),
    BreakKind.AUTHORIZATION_WITHOUT_HOLD: (
        "The funds of an open authorization are not held: they could be spent twice, and its capture would be rejected "
        "by the ledger."
    ),
    BreakKind.INTENT_WITHOUT_HOLD: (
        "The funds of an acknowledged payment are not held: they could be spent twice, and one of the two payments "
        "would be rejected by the ledger."
    ),
    BreakKind.CACHE_LOST: (
        "Acknowledged payments may be lost with the cache; the figures name those that are known. No run can see them, "
        "so somebody has to look after them, and accept the loss."
    ),
    BreakKind.BALANCE_NOT_SUM: (
        "The balance that payments are decided on is not what the entries add up to: one of the two was changed past "
        "the program."
    ),
    BreakKind.TRIAL_BALANCE: ("A balance was changed on one side only: money was made or lost in the ledger itself."),
    BreakKind.CHAIN_HASH: "A transaction or its entries were changed after they were sealed.",
    BreakKind.CHAIN_LINK: "A transaction is missing, or another one stands in its place.",
}


def headline(one: BreakRecord) -> str:
    """The break in one sentence."""
    about = one.account_id or one.subject
    kind = _kind_of(one)
    if kind is None or kind not in _HEADLINES:
        return f"{words(one.kind).capitalize()}: {about}"
    difference = one.difference_minor
    if kind not in _WITH_AMOUNTS or not difference or one.ledger_minor is None or one.other_minor is None:
        return _HEADLINES[kind].format(about=about)
    amount = amount_of(abs(difference), one.currency_code)
    more = f"{amount} {'more' if difference > 0 else 'less'}"
    return _WITH_AMOUNTS[kind].format(about=about, more=more, amount=amount)


def _kind_of(one: BreakRecord) -> BreakKind | None:
    """The kind of a break inside; those outside have kinds of their own."""
    try:
        return BreakKind(one.kind)
    except ValueError:
        return None


def meaning(one: BreakRecord, *, in_doubt: bool) -> list[str]:
    """What the break means, in paragraphs: what is wrong, and whether money is at risk.

    `in_doubt` says that a break of the ledger itself is open.
    """
    if one.source is BreakSource.OUTSIDE:
        return [_OF_STATEMENTS]
    if one.state.is_settled:
        return [_SETTLED[one.state], *([_LOST] if one.kind == BreakKind.CACHE_LOST else [])]
    kind = _kind_of(one)
    own = None if kind is None else _MEANINGS.get(kind)
    if kind is BreakKind.CACHE_LOST:
        return [_MEANINGS[kind]]
    general = f"{_BESIDE_LEDGER if in_doubt else _OF_CACHE} {_AT_RISK}" if one.is_of_cache else _OF_LEDGER
    return [text for text in (own, general) if text]


def side_names(one: BreakRecord) -> tuple[str, str]:
    """What the two sides are called."""
    if one.source is BreakSource.OUTSIDE:
        return "Ledger", "Statement"
    if one.kind == BreakKind.HELD_NOT_SUM:
        return "Sum of the holds", "Held, says the cache"
    if one.is_of_cache:
        return "Ledger", "Cache"
    return "What its entries say", "What the ledger states"


def amount_of(minor: int | None, currency_code: str | None) -> str:
    """An amount with its currency; minor units where the break is about no currency."""
    if minor is None:
        return ""
    if currency_code is None:
        return f"{MINUS if minor < 0 else ''}{abs(minor):,} minor units"
    return f"{money(minor, currency_code)} {currency_code}"


@dataclass(slots=True, frozen=True)
class Told:
    """One event as the page tells it."""

    event: BreakEvent
    state: str | None
    """The state, where the event changed it."""
    text: str


def told(events: Sequence[BreakEvent]) -> list[Told]:
    """A history in words: each event with what it changed."""
    lines: list[Told] = []
    before: BreakEvent | None = None
    for event in events:
        is_new = before is None or before.state != event.state
        lines.append(Told(event, event.state if is_new else None, _told(event, before)))
        before = event
    return lines


def _told(event: BreakEvent, before: BreakEvent | None) -> str:
    if event.action == EventAction.REPAIR_ASKED:
        return "Repair of the cache asked for."
    if event.action == EventAction.REPAIRED:
        return "The account is rebuilt in the cache."
    if before is None or event.action in (None, EventAction.COMMENTED):
        return ""
    parts = []
    if event.owner != before.owner:
        parts.append(f"Given to {event.owner}." if event.owner else "Taken from its owner.")
    if event.reason_code != before.reason_code:
        parts.append(f"Reason: {words(event.reason_code)}." if event.reason_code else "Reason taken back.")
    if event.due_at is not None and event.due_at != before.due_at:
        parts.append(f"Due {event.due_at:%Y-%m-%d %H:%M} UTC.")
    return " ".join(parts)
