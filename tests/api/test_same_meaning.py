"""The same external_id with the same meaning in other words is a replay, also where an earlier version recorded it."""

from json import dumps
from typing import Any

import pytest

from app.domain import payment_checks
from app.domain.payment import PaymentRequest
from app.domain.payment_checks import digest_of
from tests.api.test_idempotency import forget
from tests.api.world import World, assert_problem, payment

SPELLINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the default expiry": ({"capture": "manual"}, {"capture": "manual", "expires_in_s": 604_800}),
    "milliseconds": (
        {"effective_at": "2026-01-31T09:30:00.123456Z"},
        {"effective_at": "2026-01-31T09:30:00.123Z"},
    ),
    "an empty description": ({"description": ""}, {"description": None}),
    "empty metadata": ({"metadata": {}}, {}),
    "a default": ({"capture": "automatic"}, {"destinations": []}),
    "a share": (
        {"destination_account_id": None, "destinations": [{"account_id": "bob", "share": "1.00"}]},
        {"destination_account_id": None, "destinations": [{"account_id": "bob", "share": "1"}]},
    ),
}


@pytest.fixture
def shop(world: World) -> World:
    """Alice with money, and Bob."""
    world.funded("alice", 1_000)
    world.account("bob")
    return world


@pytest.mark.parametrize("state", ["pending", "posted", "after the window"])
@pytest.mark.parametrize(("one", "other"), SPELLINGS.values(), ids=SPELLINGS)
def test_another_spelling_of_a_payment_is_a_replay(
    shop: World, one: dict[str, Any], other: dict[str, Any], state: str
) -> None:
    for number, (first, second) in enumerate([(one, other), (other, one)]):
        body = payment("alice", "bob", 100, external_id=f"order-{number}")
        made = shop.post("/v1/payments", {**body, **first})
        assert made.status_code == 201, made.text
        assert_replayed(shop, made.get_json()["payment_id"], {**body, **second}, state)


def assert_replayed(shop: World, payment_id: str, body: dict[str, Any], state: str) -> None:
    if state != "pending":
        shop.drained()
    if state == "after the window":
        forget(shop)
        late = shop.post("/v1/payments", body)
        assert late.status_code == 201, late.text
        shop.drained()
    replay = shop.post("/v1/payments", body)
    assert (replay.status_code, replay.get_json().get("payment_id")) == (200, payment_id), replay.text
    shop.drained()
    assert shop.sql("SELECT count(*) FROM payment_rejection") == [(0,)]


def as_earlier_versions(request: PaymentRequest) -> str:
    """The fingerprint as it was before meanings counted."""
    return digest_of(
        (
            request.source_account_id,
            request.destination_account_id or "",
            str(request.amount_minor),
            request.currency_code,
            request.description or "",
            request.effective_at.isoformat() if request.effective_at else "",
            dumps(request.metadata, sort_keys=True, separators=(",", ":")) if request.metadata else "",
            f"manual {request.expires_in_s}" if request.manual_capture else "",
            dumps([[o.account_id, o.amount_minor, o.share, o.remainder] for o in request.destinations])
            if request.destinations
            else "",
        )
    )


@pytest.mark.parametrize("state", ["pending", "posted", "after the window"])
@pytest.mark.parametrize(
    "fields",
    [
        {"capture": "manual"},
        {"capture": "manual", "expires_in_s": 604_800},
        {"effective_at": "2026-01-31T09:30:00.123456Z", "description": "", "metadata": {"n": 1}},
        {"destination_account_id": None, "destinations": [{"account_id": "bob", "share": "1.00"}]},
    ],
)
def test_what_an_earlier_version_recorded_is_replayed(
    shop: World, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], state: str
) -> None:
    body = payment("alice", "bob", 100, external_id="order", **fields)
    with monkeypatch.context() as earlier:
        earlier.setattr(payment_checks, "fingerprint", as_earlier_versions)
        earlier.setattr(payment_checks, "former_fingerprints", lambda request: ())
        made = shop.post("/v1/payments", body)
        assert made.status_code == 201, made.text
        if state != "pending":
            shop.drained()
    assert_replayed(shop, made.get_json()["payment_id"], body, state)
    reused = assert_problem(shop.post("/v1/payments", {**body, "amount_minor": 99}), 422, "external_id_reused")
    assert reused["field"] == "amount_minor"


def test_an_atomic_batch_in_other_words_is_a_replay(shop: World, monkeypatch: pytest.MonkeyPatch) -> None:
    body = payment("alice", "bob", 100, effective_at="2026-01-31T09:30:00.123456Z")
    batch = {"payments": [body, payment("alice", "bob", 1)], "atomic": True}
    with monkeypatch.context() as earlier:
        earlier.setattr(payment_checks, "fingerprint", as_earlier_versions)
        earlier.setattr(payment_checks, "former_fingerprints", lambda request: ())
        assert shop.post("/v1/payments/batch", batch).status_code == 200
    again = shop.post("/v1/payments/batch", batch).get_json()
    assert [one["status"] for one in again["data"]] == [200, 200]


def test_an_account_with_empty_metadata_is_the_one_without(world: World) -> None:
    body = {"account_id": "alice", "type": "liability", "currency_code": "EUR"}
    assert world.post("/v1/accounts", body).status_code == 201
    assert world.post("/v1/accounts", {**body, "metadata": {}}).status_code == 200
    assert_problem(world.post("/v1/accounts", {**body, "metadata": {"n": 1}}), 409, "account_exists")
