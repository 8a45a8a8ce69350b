"""Two entities cannot see each other in what is on record: the audit, evidence, and the heads that evidence ends at."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.services.access.api_keys import Scope
from tests.access.work import Work, words
from tests.access.world import NORTH, SOUTH, Things, TwoEntities
from tests.api.world import assert_problem, payment

EVERYTHING = "?limit=1000"


def both_ways(world: TwoEntities) -> Iterator[tuple[Things, Things]]:
    """Who asks, and whose things must stay hidden."""
    yield world.north, world.south
    yield world.south, world.north


def assert_hidden(response: TestResponse, other: Things) -> None:
    """An answer names nothing of an entity."""
    assert response.status_code == 200, response.text
    ids = (*other.accounts.values(), *other.payments.values(), *other.journals.values(), other.refund, *other.records)
    for hidden in (other.entity_id, other.key_id, *ids):
        assert hidden not in response.text, hidden


def same_answer(world: TwoEntities, work: Work, things: Things, theirs: str, missing: str, *own: str) -> TestResponse:
    """The answer about what is another entity's, which is that about what does not exist, after the same work."""
    hidden, its_work = work.of(partial(world.get, theirs, key=things.key))
    none, other_work = work.of(partial(world.get, missing, key=things.key))
    assert words(hidden, *own) == words(none, *own), theirs
    assert its_work == other_work, theirs
    return hidden


# The audit


def test_the_audit_lists_what_is_of_the_keys_own_entities_and_nothing_else(two_entities: TwoEntities) -> None:
    world = two_entities
    for things, other in both_ways(world):
        listed = world.get(f"/v1/audit{EVERYTHING}", key=things.key)
        assert_hidden(listed, other)
        assert [one["audit_id"] for one in listed.get_json()["data"]] == things.records
        exported = world.get("/v1/audit.csv", key=things.key)
        assert_hidden(exported, other)
        rows = csv.DictReader(io.StringIO(exported.text, newline=""))
        assert [row["audit_id"] for row in rows] == things.records
        for audit_id in things.records:
            assert_hidden(world.get(f"/v1/audit/{audit_id}", key=things.key), other)
    every = world.get(f"/v1/audit{EVERYTHING}").get_json()["data"]
    assert {*world.north.records, *world.south.records} < {one["audit_id"] for one in every}
    assert not {*world.north.records} & {*world.south.records}


def test_a_walk_through_the_audit_meets_no_other_entity(two_entities: TwoEntities) -> None:
    world, north = two_entities, two_entities.north
    met, after = [], ""
    while after is not None:
        page = world.get(f"/v1/audit?limit=1{'&after=' + after if after else ''}", key=north.key).get_json()
        met += [one["audit_id"] for one in page["data"]]
        after = page["next"]
    assert met == north.records
    beside = world.get(f"/v1/audit{EVERYTHING}&after={world.south.records[0]}", key=north.key).get_json()["data"]
    assert [one["audit_id"] for one in beside] == north.records[-len(beside) :], "a cursor is a place, and no key to it"


def filters_naming(things: Things, request_id: str) -> dict[str, str]:
    """Questions to the audit that have an answer for whoever may see the entity; each with one that has none."""
    payment_id = things.payments["posted"]
    return {
        f"account_id={things.accounts['wallet']}": "account_id=nowhere:wallet",
        f"payment_id={payment_id}": f"payment_id={payment_id.rpartition('_')[0]}_987654",
        f"payment_id={things.refund}": "payment_id=jrn_987654",
        f"external_id=shared&entity_id={things.entity_id}": "external_id=shared&entity_id=nowhere",
        f"external_id={things.entity_id}-only&entity_id={things.entity_id}": "external_id=none&entity_id=nowhere",
        f"entity_id={things.entity_id}": "entity_id=nowhere",
        f"key_id={things.key_id}": f"key_id={'f' * 12}",
        f"actor=key:{things.key_id}": f"actor=key:{'f' * 12}",
        f"request_id={request_id}": "request_id=none",
    }


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit.csv"])
def test_no_filter_finds_what_another_entity_has(two_entities: TwoEntities, work: Work, path: str) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    body = payment("south:wallet", "south:shop", 1, external_id="south-only")
    world.made(world.post("/v1/payments", body, key=south.key, headers={"X-Request-Id": "of-the-south"}))
    world.drained()
    for question, nothing in filters_naming(south, "of-the-south").items():
        found = world.get(f"{path}?{question}", key=south.key)
        assert "aud_" in found.text, f"{question} is no question"
        hidden, its_work = work.of(partial(world.get, f"{path}?{question}", key=north.key))
        missing, other_work = work.of(partial(world.get, f"{path}?{nothing}", key=north.key))
        assert (hidden.status_code, hidden.text) == (missing.status_code, missing.text), question
        assert "aud_" not in hidden.text, question
        assert its_work == other_work, question


def test_a_call_by_a_key_of_two_entities_is_seen_by_nobody_who_sees_but_one(two_entities: TwoEntities) -> None:
    world = two_entities
    both = world.key_with(Scope.ADMIN, entities=[NORTH, SOUTH])
    world.get("/v1/accounts", key=both, headers={"X-Request-Id": "of-both"})
    world.get("/v1/accounts", headers={"X-Request-Id": "of-all"})
    payments = [payment(f"{one}:wallet", f"{one}:shop", 1, external_id=f"{one}-mixed") for one in (NORTH, SOUTH)]
    batch = world.post("/v1/payments/batch", {"payments": payments}, key=both, headers={"X-Request-Id": "mixed"})
    assert [one["status"] for one in batch.get_json()["data"]] == [201, 201]
    world.drained()
    world.services.recorder.flush()
    for things, other in both_ways(world):
        listed = world.get(f"/v1/audit{EVERYTHING}", key=things.key)
        assert_hidden(listed, other)
        by_call = {one["request_id"]: one for one in listed.get_json()["data"]}
        assert not by_call.keys() & {"of-both", "of-all"}
        assert by_call["mixed"]["external_id"] == f"{things.entity_id}-mixed", "its own payment, and not the batch"
        assert_hidden(world.get(f"/v1/audit/{by_call['mixed']['audit_id']}", key=things.key), other)
    seen = {one["request_id"] for one in world.get(f"/v1/audit{EVERYTHING}", key=both).get_json()["data"]}
    assert {"of-both", "mixed"} <= seen
    assert "of-all" not in seen


def test_a_key_that_is_made_elsewhere_is_in_no_bound_audit(two_entities: TwoEntities) -> None:
    """Making a key is of no entity: only those see it who see what its maker may reach."""
    world, north = two_entities, two_entities.north
    made = world.made(world.post("/v1/keys", {"name": "x", "scopes": ["read"], "entities": [SOUTH]}))
    own = world.made(world.post("/v1/keys", {"name": "x", "scopes": ["read"]}, key=north.key))
    answer = world.get("/v1/audit?action=key.create", key=north.key)
    [record] = answer.get_json()["data"]
    detail = world.get(f"/v1/audit/{record['audit_id']}", key=north.key).text
    assert own["key_id"] in detail
    assert made["key_id"] not in answer.text + detail


# Evidence


def own_evidence(things: Things) -> Iterator[str]:
    for payment_id in things.payments.values():
        yield f"/v1/payments/{payment_id}/evidence"
    yield f"/v1/refunds/{things.refund}/evidence"
    for journal_id in things.journals.values():
        yield f"/v1/journals/{journal_id}/evidence"
    for external_id in ("shared", "to keep", "to come", "refund", "a journal", "refused"):
        yield f"/v1/evidence?external_id={external_id}"
        yield f"/v1/evidence?external_id={external_id}&entity_id={things.entity_id}"


def refuse(world: TwoEntities, things: Things) -> None:
    """Have the cache refuse a payment: it can be found by its external id for a while."""
    body = payment(things.accounts["wallet"], things.accounts["shop"], 10**9, external_id="refused")
    assert_problem(world.post("/v1/payments", body, key=things.key), 422, "insufficient_funds")
    world.services.recorder.flush()


def test_evidence_of_ones_own_tells_nothing_of_another_entity(two_entities: TwoEntities) -> None:
    world = two_entities
    for things in (world.north, world.south):
        refuse(world, things)
    for things, other in both_ways(world):
        for path in own_evidence(things):
            found = world.get(path, key=things.key)
            assert_hidden(found, other)
            assert found.get_json()["subject"]["entity_id"] == things.entity_id


def test_an_external_id_of_another_entity_has_no_evidence(two_entities: TwoEntities, work: Work) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    refuse(world, south)
    ids = ("shared", "to capture", "to keep", "to come", "refund", "a journal", "a reversal", "refused", "no such id")
    for external_id in ids:
        theirs = f"/v1/evidence?external_id={external_id}&entity_id={SOUTH}"
        nowhere = f"/v1/evidence?external_id={external_id}&entity_id=nowhere"
        assert_problem(same_answer(world, work, north, theirs, nowhere), 404, "payment_not_found")
    body = payment("south:wallet", "south:shop", 1, external_id="south-only")
    world.made(world.post("/v1/payments", body, key=south.key))
    for external_id in ("south-only", "refused"):
        paths = [f"/v1/evidence?external_id={one}" for one in (external_id, "no such id")]
        answer = same_answer(world, work, north, *paths, external_id, "no such id")
        assert_problem(answer, 404, "payment_not_found")


def test_a_refused_call_is_evidence_for_those_only_who_see_what_its_key_reaches(two_entities: TwoEntities) -> None:
    """Of a refused call nobody knows which entity it meant, so the key that made it decides."""
    world = two_entities
    both, outside = world.key_with(Scope.ADMIN, entities=[NORTH, SOUTH]), world.key_with(Scope.ADMIN, entities=["east"])
    callers = {"north": world.north.key, "south": world.south.key, "both": both, "all": world.key, "outside": outside}
    for caller, key in callers.items():
        body = payment("nowhere:a", "nowhere:b", 1, external_id="lost")
        response = world.post("/v1/payments", body, key=key, headers={"X-Request-Id": caller})
        assert_problem(response, 404, "account_not_found")
    world.services.recorder.flush()

    def seen(caller: str, entity_id: str) -> set[str]:
        answer = world.get(f"/v1/evidence?external_id=lost&entity_id={entity_id}", key=callers[caller])
        if answer.status_code == 404:
            return set()
        return {one["request_id"] for one in answer.get_json()["source"]["calls"]}

    assert seen("north", NORTH) == {"north"}
    assert seen("north", SOUTH) == seen("south", NORTH) == seen("outside", NORTH) == set()
    assert seen("both", NORTH) == {"north", "both"}
    assert seen("both", SOUTH) == {"south", "both"}
    assert seen("all", NORTH) == {"north", "both", "all"}


# Heads


def test_heads_name_no_entity_and_are_the_same_for_every_key(two_entities: TwoEntities) -> None:
    """A key of some entities needs them to check its evidence: they are sizes and hashes of whole chains."""
    world, north, south = two_entities, two_entities.north, two_entities.south
    head: dict[str, Any] = world.get(f"/v1/payments/{south.payments['posted']}/evidence").get_json()["chain"]["head"]
    proof = f"/v1/heads/consistency?partition={head['partition']}&from_size=1&to_size={head['chain_seq']}"
    for path in ("/v1/heads", proof):
        answers = [world.get(path, key=key) for key in (north.key, south.key, world.key)]
        assert len({one.text for one in answers}) == 1
        for other in (north, south):
            assert_hidden(answers[0], other)
