"""Every way to make cache and ledger differ: for tests that it is found, and for tests that it is repaired."""

from collections.abc import Callable, Sequence
from typing import Any

from app.cache import keys
from app.domain.breaks import Break, BreakKind
from app.domain.payment import parse_payment_id
from app.services.payments.authorizations import Concluded
from tests import hot_state
from tests.builders import account_in
from tests.world import World

Tamper = Callable[[World], None]


def authorize(world: World, amount_minor: int) -> str:
    return world.accepted("alice", "bob", amount_minor, manual_capture=True, expires_in_s=3_600).payment_id


def void(world: World, payment_id: str) -> None:
    outcome = world.authorizations.void(payment_id, "key:test")
    assert isinstance(outcome, Concluded)


def ledger(*statements: str) -> Tamper:
    return lambda world: world.tamper(*statements)


def cache(tamper: Callable[..., None], **values: Any) -> Tamper:
    return lambda world: tamper(world.client, world.account_key("alice"), **values)


def forge_hold(world: World) -> None:
    world.client.hset(world.account_key("alice"), "5-5", 7)
    hot_state.add(world.client, world.account_key("alice"), held=7)


def lose_hold(world: World) -> None:
    world.client.hdel(world.account_key("alice"), *hot_state.holds(world.client, world.account_key("alice")))
    hot_state.put(world.client, world.account_key("alice"), held=0)


def change_hold(world: World) -> None:
    [stream_id] = hot_state.holds(world.client, world.account_key("alice"))
    world.client.hset(world.account_key("alice"), stream_id, 4)
    hot_state.put(world.client, world.account_key("alice"), held=4)


def lose_authorized_hold(world: World, amount_minor: int = 7) -> None:
    outbox_position = parse_payment_id(authorize(world, amount_minor))
    assert outbox_position is not None
    world.drain()
    world.client.hdel(world.account_key("alice"), outbox_position.stream_id)
    hot_state.add(world.client, world.account_key("alice"), held=-amount_minor)


ALICES_LAST = "(SELECT partition, chain_seq FROM entry WHERE account_id = 'alice' ORDER BY entry_number DESC LIMIT 1)"
ALICES_SECOND = "(SELECT partition, chain_seq FROM entry WHERE account_id = 'alice' AND entry_number = 2)"


def entry(change: str, account_id: str = "alice", number: int = 2) -> Tamper:
    return ledger(f"UPDATE entry SET {change} WHERE account_id = '{account_id}' AND entry_number = {number}")


def row(change: str) -> Tamper:
    return ledger(f"UPDATE account_balance SET {change} WHERE account_id = 'alice'")


def of_transaction(what: str, outbox_position: str = ALICES_SECOND) -> Tamper:
    return ledger(f"{what} WHERE (partition, chain_seq) = {outbox_position}")


def lose_intents(world: World) -> None:
    world.client.delete(keys.outbox(world.cache.partition_of("alice")))


def invent_account(world: World) -> None:
    ghost = account_in(world.cache.partition_of("alice"), "ghost")
    world.client.copy(world.account_key("alice"), world.account_key(ghost))


def delete_entry(account_id: str) -> Tamper:
    return ledger(f"DELETE FROM entry WHERE account_id = '{account_id}' AND entry_number = 2")


def lose_history(world: World) -> None:
    authorize(world, 7)
    world.drain()
    world.tamper("DELETE FROM hold_event")


A_PAYMENT = "(SELECT payment_id FROM ledger_transaction WHERE (partition, chain_seq) = " + ALICES_SECOND + ")"


def reject_posted(world: World) -> None:
    world.tamper(
        "INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent)"
        f" VALUES ({A_PAYMENT}, 'default', 'x', 'f', 'insufficient_funds', 'x', '{{}}', '{{}}')"
    )


def stay_behind(world: World, account_id: str = "bob") -> None:
    """As a cache does that was put back to an older copy: at an earlier entry, with the balance of then."""
    world.drain()  # an intent that waits would bring it up again
    query = "SELECT balance_minor FROM entry WHERE account_id = %s AND entry_number = 2"
    [(balance,)] = world.rows(query, account_id)
    hot_state.put(world.client, world.account_key(account_id), balance=balance, entry_count=2)


TAMPERING: list[tuple[str, Tamper, BreakKind]] = [
    ("cache balance one more", cache(hot_state.add, balance=1), BreakKind.CACHE_BALANCE),
    ("cache balance one less", cache(hot_state.add, balance=-1), BreakKind.CACHE_BALANCE),
    ("cache at an older entry", cache(hot_state.add, entry_count=-1), BreakKind.CACHE_BALANCE),
    ("cache at a later entry", cache(hot_state.add, entry_count=1), BreakKind.CACHE_AHEAD),
    ("an account only in the cache", invent_account, BreakKind.CACHE_AHEAD),
    ("cache floor lowered", cache(hot_state.put, floor="-500"), BreakKind.CACHE_FLOOR),
    ("cache floor gone", cache(hot_state.put, floor=""), BreakKind.CACHE_FLOOR),
    ("held raised", cache(hot_state.add, held=1), BreakKind.HELD_NOT_SUM),
    ("held gone", cache(hot_state.put, held=0), BreakKind.HELD_NOT_SUM),
    ("a hold without an intent", forge_hold, BreakKind.HOLD_WITHOUT_INTENT),
    ("the intent lost", lose_intents, BreakKind.HOLD_WITHOUT_INTENT),
    ("the hold of an authorization lost", lose_authorized_hold, BreakKind.AUTHORIZATION_WITHOUT_HOLD),
    ("the hold lost", lose_hold, BreakKind.INTENT_WITHOUT_HOLD),
    ("the hold changed", change_hold, BreakKind.INTENT_WITHOUT_HOLD),
    ("booked balance one more", row("balance_minor = balance_minor + 1"), BreakKind.BALANCE_NOT_SUM),
    ("trial balance off", row("balance_minor = balance_minor + 1"), BreakKind.TRIAL_BALANCE),
    ("entry count one more", row("entry_count = entry_count + 1"), BreakKind.ENTRY_GAP),
    ("an entry deleted", delete_entry("alice"), BreakKind.ENTRY_GAP),
    ("the first entry renumbered", entry("entry_number = 99", "bob", 1), BreakKind.ENTRY_GAP),
    ("the first entry numbered zero", entry("entry_number = 0", "bob", 1), BreakKind.ENTRY_GAP),
    ("an entry's balance changed", entry("balance_minor = balance_minor + 1"), BreakKind.ENTRY_RUNNING_BALANCE),
    ("an entry's amount changed", entry("amount_minor = amount_minor + 1"), BreakKind.TRANSACTION_UNBALANCED),
    ("one leg deleted", delete_entry("bob"), BreakKind.TRANSACTION_UNBALANCED),
    ("both legs deleted", of_transaction("DELETE FROM entry"), BreakKind.TRANSACTION_UNBALANCED),
    ("a transaction deleted", of_transaction("DELETE FROM ledger_transaction"), BreakKind.ORPHAN_ENTRY),
    ("an account deleted", ledger("DELETE FROM account_balance WHERE account_id = 'bob'"), BreakKind.ORPHAN_ENTRY),
    ("a text changed", of_transaction("UPDATE ledger_transaction SET description = 'x'"), BreakKind.CHAIN_HASH),
    ("both amounts doubled", of_transaction("UPDATE entry SET amount_minor = 2 * amount_minor"), BreakKind.CHAIN_HASH),
    ("a link deleted", of_transaction("DELETE FROM ledger_transaction"), BreakKind.CHAIN_LINK),
    ("the tail deleted", of_transaction("DELETE FROM ledger_transaction", ALICES_LAST), BreakKind.CHAIN_HEAD),
    ("an entry dated otherwise", entry("posted_at = posted_at + interval '1 day'"), BreakKind.ENTRY_MISMATCH),
    ("an entry in another currency", entry("currency_code = 'USD'"), BreakKind.ENTRY_MISMATCH),
    ("booked floor lowered", row("floor_minor = -500"), BreakKind.ACCOUNT_MISMATCH),
    ("booked sign turned", row("normal_sign = -normal_sign"), BreakKind.ACCOUNT_MISMATCH),
    ("a history lost", lose_history, BreakKind.AUTHORIZATION_MISMATCH),
    ("a posted payment rejected", reject_posted, BreakKind.ANSWERED_TWICE),
    (
        "a repeat of nothing",
        ledger("INSERT INTO payment_duplicate (payment_id, original_payment_id) VALUES ('pay_0_1_1', 'pay_0_1_0')"),
        BreakKind.DUPLICATE_WITHOUT_ORIGINAL,
    ),
    (
        "a return of nothing",
        ledger("INSERT INTO payment_return SELECT payment_id, 'bob', 0, 99, 1, 1 FROM ledger_transaction LIMIT 1"),
        BreakKind.RETURN_MISMATCH,
    ),
    ("an event lost", ledger("DELETE FROM audit_event WHERE subject = 'alice'"), BreakKind.AUDIT_MISMATCH),
    ("a change without event", ledger("UPDATE account SET status = 'frozen'"), BreakKind.AUDIT_MISMATCH),
    (
        "a backdated posting",
        of_transaction("UPDATE ledger_transaction SET posted_at = now() - interval '30 days'", ALICES_LAST),
        BreakKind.CHAIN_TIME,
    ),
    ("a cursor beyond its chain", ledger("UPDATE reconciliation_cursor SET chain_seq = 99"), BreakKind.CURSOR_AHEAD),
]


def kinds(breaks: Sequence[Break]) -> set[str]:
    """The kinds of some breaks."""
    return {found.kind.value for found in breaks}


BEHIND = ("the cache stays behind", stay_behind, BreakKind.CACHE_BEHIND)
"""A run makes this good by itself."""
