"""The cache's clock was ahead once: stream ids stay in the future, and every time that is shown or kept is right."""

from datetime import UTC, datetime, timedelta

import pytest

from app.cache import keys
from app.domain.payment import parse_payment_id
from app.domain.timestamps import parse_time
from app.services.posting.outbox import JOURNAL_PATIENCE_MS
from app.wiring.services import build_expiry
from app.wiring.workers import build_drain, wall_clock_ms
from tests.api.world import World
from tests.patience import until

YEARS_AHEAD = 2


@pytest.fixture
def shop(world: World) -> World:
    """Alice with money and Bob; every partition has given a stream id of the year after next."""
    world.funded("alice", 1_000)
    world.account("bob")
    future_ms = wall_clock_ms() + YEARS_AHEAD * 365 * 86_400_000
    for partition in range(world.settings.partitions):
        world.cache.xadd(keys.outbox(partition), {"intent": ""}, id=f"{future_ms}-0")
        world.cache.xdel(keys.outbox(partition), f"{future_ms}-0")
    return world


def is_now(text: str) -> bool:
    return abs(parse_time(text) - datetime.now(UTC)) < timedelta(minutes=5)


def test_payments_are_dated_by_the_clock(shop: World) -> None:
    accepted = shop.pay("alice", "bob", 100, external_id="one").get_json()
    outbox_position = parse_payment_id(accepted["payment_id"])
    assert outbox_position is not None
    assert outbox_position.stamped_ms > wall_clock_ms() + 365 * 86_400_000, "only the order is the stream's"
    assert is_now(accepted["accepted_at"])
    assert is_now(accepted["effective_at"])
    pending = shop.get(f"/v1/payments/{accepted['payment_id']}").get_json()
    assert is_now(pending["accepted_at"])
    assert is_now(shop.balance("alice")["updated_at"])
    shop.drained()
    posted = shop.get(f"/v1/payments/{accepted['payment_id']}").get_json()
    assert is_now(posted["accepted_at"])
    assert is_now(posted["effective_at"])
    now = (datetime.now(UTC) + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    assert shop.get(f"/v1/accounts/bob/balance?at={now}").get_json()["balance_minor"] == 100
    shop.assert_proven()


def test_the_loss_of_the_cache_carries_the_order_over_and_no_time(shop: World) -> None:
    shop.pay("alice", "bob", 100)
    shop.drained()
    shop.cache.flushdb()
    accepted = shop.pay("alice", "bob", 100).get_json()
    assert is_now(accepted["accepted_at"])
    shop.assert_proven()


def test_an_authorization_ends_when_it_should(shop: World) -> None:
    authorized = shop.pay("alice", "bob", 100, capture="manual", expires_in_s=1).get_json()
    assert is_now(authorized["expires_at"])
    shop.drained()
    expiry = build_expiry(shop.settings)
    until(lambda: expiry.expire_due(datetime.now(UTC)) == 1)
    shop.drained()
    assert shop.balance("alice")["held_minor"] == 0
    found = shop.get(f"/v1/payments/{authorized['payment_id']}").get_json()
    assert found["status"] == "expired"
    assert is_now(found["concluded_at"])
    shop.assert_proven()


def test_the_hold_of_a_journal_that_broke_off_is_released_after_its_patience(shop: World) -> None:
    entries = [
        {"account_id": "alice", "direction": "debit", "amount_minor": 1},
        {"account_id": "bob", "direction": "credit", "amount_minor": 1},
    ]

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    shop.services.cache.outbox.settle = killed  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        shop.post("/v1/journals", {"external_id": "j", "entries": entries, "reason": "a test"})
    later_ms = [0]
    drain = build_drain(shop.settings, now_ms=lambda: wall_clock_ms() + later_ms[0])
    assert drain.run_once().settled == 0, "it may still be under way"
    later_ms[0] = JOURNAL_PATIENCE_MS
    until(lambda: drain.run_once().settled > 0 or not any(drain.cache.outbox.backlog().values()))
    shop.assert_proven()
