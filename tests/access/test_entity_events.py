"""Two entities cannot see each other in events, nor in whom they are told to."""

from functools import partial
from typing import Any

from tests.access.test_entity_records import assert_hidden, both_ways
from tests.access.work import Work, words
from tests.access.world import Things, TwoEntities
from tests.api.world import assert_problem


def events(world: TwoEntities, things: Things, query: str = "") -> list[dict[str, Any]]:
    response = world.get(f"/v1/events?limit=1000{query}", key=things.key)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.get_json()["data"]
    return found


def test_the_feed_tells_a_key_of_its_own_entities_only(two_entities: TwoEntities) -> None:
    world = two_entities
    whole = world.get("/v1/events?limit=1000").get_json()["data"]
    for things, other in both_ways(world):
        assert_hidden(world.get("/v1/events?limit=1000", key=things.key), other)
        own = events(world, things)
        assert own == [one for one in whole if one["data"].get("entity_id") == things.entity_id]
        assert {one["type"] for one in own} >= {"payment.posted", "payment.refunded", "journal.reversed"}


def test_an_account_of_another_entity_has_no_events_after_the_same_work(two_entities: TwoEntities, work: Work) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    theirs, nowhere = (f"/v1/events?account_id={one}" for one in (south.accounts["wallet"], "nowhere:wallet"))
    hidden, its_work = work.of(partial(world.get, theirs, key=north.key))
    missing, other_work = work.of(partial(world.get, nowhere, key=north.key))
    assert words(hidden) == words(missing)
    assert hidden.get_json()["data"] == []
    assert its_work == other_work


def test_a_stream_tells_a_key_of_its_own_entities_only(two_entities: TwoEntities) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    headers = {"Authorization": f"Bearer {north.key}"}
    response = world.application.test_client().get("/v1/events/stream?after=0", headers=headers)
    pieces = iter(response.response)
    next(pieces)
    told = next(pieces)
    text = told.decode() if isinstance(told, bytes) else told
    response.close()
    assert north.entity_id in text
    assert south.entity_id not in text


def test_endpoints_and_monitors_are_listed_to_their_own_entity_only(two_entities: TwoEntities) -> None:
    world = two_entities
    for things, other in both_ways(world):
        for path, name, own in (
            ("/v1/webhooks", "endpoint_id", things.endpoint_id),
            ("/v1/monitors", "monitor_id", things.monitor_id),
        ):
            listed = world.get(path, key=things.key)
            assert_hidden(listed, other)
            assert [one[name] for one in listed.get_json()["data"]] == [own]
    assert len(world.get("/v1/webhooks").get_json()["data"]) == 2
    assert world.get(f"/v1/webhooks/{world.north.endpoint_id}").get_json()["entities"] == ["north"]


def test_nothing_is_told_or_watched_of_an_account_out_of_reach(two_entities: TwoEntities) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    for account_id in (south.accounts["wallet"], "nowhere:wallet"):
        endpoint = {"url": "https://north.example/hook", "account_id": account_id}
        assert_problem(world.post("/v1/webhooks", endpoint, key=north.key), 404, "account_not_found")
        condition = {"measure": "balance", "comparison": "above", "threshold_minor": 1}
        monitor = {"account_id": account_id, **condition}
        assert_problem(world.post("/v1/monitors", monitor, key=north.key), 404, "account_not_found")
