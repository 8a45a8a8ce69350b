"""Two entities cannot see each other: every route is walked with the key of one and the things of the other.

What belongs to another entity is answered as what does not exist, word for word, and after the same statements to the
ledger and commands to the cache; so neither the answer nor its time tells that it is there.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from werkzeug.test import TestResponse

from app.api.application import all_routes
from app.api.entity_binding import OF_NOBODY, OWNED
from app.api.routes import Route
from app.services.access.api_keys import Scope
from tests.access.work import Work, words
from tests.access.world import NORTH, SOUTH, Things, TwoEntities
from tests.api.world import assert_problem, payment
from tests.journals.world import credit, debit, journal

BODIES: dict[str, dict[str, Any]] = {
    "change_account": {"name": "mine"},
    "capture_payment": {},
    "void_payment": {},
    "refund_payment": {"external_id": "probe"},
    "reverse_journal": {"external_id": "probe", "reason": "x"},
    "propose_reversal": {"external_id": "probe", "reason": "x"},
    "rotate_key": {},
    "change_webhook": {"name": "mine"},
    "rotate_webhook_secret": {},
    "resend_dead_letters": {},
}
"""A valid body for each route that takes one and names something in its path."""

WALKED_BY_HAND = {
    *("create_account", "list_accounts", "submit_payment", "submit_batch", "find_payment", "post_journal"),
    *("propose_journal", "list_proposals", "balance_sheet", "income_statement", "conflict_hours"),
    *("trial_balance", "conflicts", "list_assets", "get_asset", "create_key", "list_keys"),
    *("list_events", "stream_events", "create_webhook", "list_webhooks", "create_monitor", "list_monitors"),
    *("list_audit", "export_audit", "find_evidence", "list_heads", "head_consistency"),
}
"""Routes that name nothing of an entity in their path; the tests below, and those of records, walk each of them."""

OWNED_ROUTES = [one for one in all_routes() if {*one.variables} - OF_NOBODY]
LOOKED_AT = {"key_id", "audit_id", "proposal_id", "endpoint_id", "monitor_id"}
LOOKING_ROUTES = [one for one in all_routes() if {*one.variables} & LOOKED_AT]
"""Routes whose views look by themselves whether what their path names is there for the key."""


def test_every_route_is_walked() -> None:
    """A route that is added belongs to one of these groups, or it lacks a test."""
    names = {one.name for one in all_routes()}
    open_to_all = {one.name for one in all_routes() if one.scope is None}
    of_installation = {one.name for one in all_routes() if one.of_installation}
    by_path = {one.name for one in (*OWNED_ROUTES, *LOOKING_ROUTES)}
    assert open_to_all | of_installation | by_path | WALKED_BY_HAND == names
    assert {one for route in OWNED_ROUTES for one in route.variables} <= OWNED.keys()


def test_every_route_asks_for_one_fine_scope() -> None:
    assert {one.name for one in all_routes() if one.scope is Scope.READ} == set()


# What a path names


def ids(things: Things, variable: str) -> list[str]:
    """Everything of an entity that a variable of a path can name."""
    found = {
        "account_id": [*things.accounts.values()],
        "payment_id": [*things.payments.values(), things.refund],
        "journal_id": [*things.journals.values(), things.refund],
        "refund_id": [things.refund],
        "proposal_id": [things.proposal],
        "key_id": [things.key_id],
        "endpoint_id": [things.endpoint_id],
        "monitor_id": [things.monitor_id],
        "audit_id": things.records,
    }
    return found[variable]


def nowhere(variable: str, like: str) -> str:
    """An id of the same form that nothing has."""
    known = {"account_id": "nowhere:wallet", "key_id": "f" * 12}
    known |= {"endpoint_id": f"whe_{'f' * 16}", "monitor_id": f"mon_{'f' * 16}"}
    return known.get(variable, re.sub(r"\d+$", "987654", like))


def asked(world: TwoEntities, route: Route, wanted: str, key: str) -> TestResponse:
    path = re.sub(r"\{\w+\}", wanted, route.path)
    body = json.dumps(BODIES[route.name]).encode() if route.body else b""
    return world.call(route.method, path, key=key, data=body, content_type="application/json")


def test_what_a_path_names_of_another_entity_does_not_exist(two_entities: TwoEntities, work: Work) -> None:
    world, north, south = two_entities, two_entities.north, two_entities.south
    before = world.belongings(south)
    for route in (*OWNED_ROUTES, *LOOKING_ROUTES):
        [variable] = route.variables
        for theirs in ids(south, variable):
            none = nowhere(variable, theirs)
            hidden, its_work = work.of(partial(asked, world, route, theirs, north.key))
            missing, other_work = work.of(partial(asked, world, route, none, north.key))
            named = f"{route.name} of {theirs}"
            assert hidden.status_code == 404, (named, hidden.text)
            assert words(hidden, theirs) == words(missing, none), named
            assert its_work == other_work, named
    assert world.belongings(south) == before
    world.assert_proven()


def test_a_key_reaches_what_its_own_entity_has(two_entities: TwoEntities) -> None:
    """The walk above is not empty: the same requests find the key's own things."""
    world, north = two_entities, two_entities.north
    for route in (*OWNED_ROUTES, *LOOKING_ROUTES):
        if route.method == "GET":
            [variable] = route.variables
            for own in ids(north, variable)[:2]:
                assert asked(world, route, own, north.key).status_code == 200, (route.name, own)
    for name in ("posted", "captured", "authorized", "pending"):
        assert world.get(f"/v1/payments/{north.payments[name]}", key=north.key).status_code == 200, name


# What a body names


def payments_to(theirs: str, own: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Payments that name an account which is not the caller's."""
    yield "source", payment(theirs, own, 1)
    yield "destination", payment(own, theirs, 1)
    parts = [{"account_id": own + ":x", "amount_minor": 1}, {"account_id": theirs, "remainder": True}]
    yield "split", payment(own, None, 10, destinations=parts)  # type: ignore[arg-type]
    yield "authorization", payment(theirs, own, 1, capture="manual")


def same_for_both(world: TwoEntities, work: Work, path: str, make: Any, **options: Any) -> TestResponse:
    """The answer to a body about the other entity's wallet, which is that about a wallet which does not exist."""
    theirs, none = world.south.accounts["wallet"], "nowhere:wallet"
    headers = {"Authorization": f"Bearer {world.north.key}"}

    def ask(account_id: str) -> TestResponse:
        body = make(account_id)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content_type": "application/json", **options}
        response = world.application.test_client().post(path, data=raw, headers=headers, **given)
        response.get_data()  # a stream is worked on while it is read
        response.close()
        return response

    hidden, its_work = work.of(lambda: ask(theirs))
    missing, other_work = work.of(lambda: ask(none))
    assert _lines(hidden, theirs) == _lines(missing, none)
    assert its_work == other_work
    return hidden


def _lines(response: TestResponse, *own: str) -> tuple[int, list[Any]]:
    text = response.text
    for one in own:
        text = text.replace(one, "…")
    return response.status_code, [json.loads(line) for line in text.splitlines()]


def test_what_a_payment_names_of_another_entity_does_not_exist(two_entities: TwoEntities, work: Work) -> None:
    world, own = two_entities, two_entities.north.accounts["wallet"]
    before = world.belongings(world.south)
    for kind in dict(payments_to("x", own)):

        def body(theirs: str, kind: str = kind) -> dict[str, Any]:
            return {**dict(payments_to(theirs, own))[kind], "external_id": "probe"}

        for path in ("/v1/payments", "/v1/payments?dry_run=true"):
            assert_problem(same_for_both(world, work, path, body), 404, "account_not_found")
        for more in ({}, {"atomic": True}):
            batch = same_for_both(
                world, work, "/v1/payments/batch", lambda one, body=body, more=more: {"payments": [body(one)], **more}
            )
            assert batch.get_json()["data"][0]["status"] == 404
        line = same_for_both(
            world,
            work,
            "/v1/payments/batch",
            lambda one, body=body: json.dumps(body(one)).encode(),
            content_type="application/x-ndjson",
        )
        assert json.loads(line.text)["status"] == 404
    assert world.belongings(world.south) == before
    world.assert_proven()


def test_what_a_journal_names_of_another_entity_does_not_exist(two_entities: TwoEntities, work: Work) -> None:
    world, own = two_entities, two_entities.north.accounts
    before = world.belongings(world.south)

    def body(theirs: str) -> dict[str, Any]:
        return journal(debit(own["wallet"], 1), credit(theirs, 1), external_id="probe")

    for path in ("/v1/journals", "/v1/journals?dry_run=true", "/v1/journal-proposals"):
        assert_problem(same_for_both(world, work, path, body), 404, "account_not_found")
    giving_back = journal(debit(own["shop"], 1), credit(own["wallet"], 1), external_id="probe")
    theirs = world.south.payments["posted"]
    none = nowhere("payment_id", theirs)
    hidden = world.post("/v1/journals", {**giving_back, "relates_to_payment_id": theirs}, key=world.north.key)
    missing = world.post("/v1/journals", {**giving_back, "relates_to_payment_id": none}, key=world.north.key)
    assert_problem(hidden, 404, "payment_not_found")
    assert words(hidden, theirs) == words(missing, none)
    assert world.belongings(world.south) == before
    world.assert_proven()


# Making things


def test_nothing_is_made_in_another_entity(two_entities: TwoEntities) -> None:
    world, north = two_entities, two_entities.north
    before = world.belongings(world.south)
    answers = []
    for entity_id in (SOUTH, "nowhere"):
        body = {"account_id": "north:new", "entity_id": entity_id, "type": "asset", "currency_code": "EUR"}
        answers.append(words(world.post("/v1/accounts", body, key=north.key), entity_id))
        body = {"name": "x", "scopes": ["read"], "entities": [NORTH, entity_id]}
        answers.append(words(world.post("/v1/keys", body, key=north.key), entity_id))
    assert answers[:2] == answers[2:]
    assert [status for status, _, _ in answers] == [403] * 4
    assert world.belongings(world.south) == before


def test_an_id_that_another_entity_has_says_nothing_of_the_account(two_entities: TwoEntities) -> None:
    """Ids of accounts are unique in the installation, so this one bit is told: it cannot be used."""
    world = two_entities
    theirs = world.south.accounts["wallet"]
    texts = set()
    for type, currency in (("liability", "EUR"), ("asset", "USD")):
        body = {"account_id": theirs, "type": type, "currency_code": currency}
        response = world.post("/v1/accounts", body, key=world.north.key)
        assert assert_problem(response, 409, "account_exists")["field"] == "account_id"
        texts.add(response.text)
    assert len(texts) == 1, "whatever the account is"
    assert SOUTH not in texts.pop().replace(theirs, "")


def test_the_same_external_ids_are_each_entitys_own(two_entities: TwoEntities) -> None:
    world = two_entities
    for mine, other in ((world.north, world.south), (world.south, world.north)):
        [found] = world.get("/v1/payments?external_id=shared", key=mine.key).get_json()["data"]
        assert found["payment_id"] == mine.payments["posted"]
        ids = mine.accounts["wallet"], mine.accounts["shop"]
        again = world.post("/v1/payments", payment(*ids, 100, external_id="shared"), key=mine.key)
        assert (again.status_code, again.get_json()["payment_id"]) == (200, mine.payments["posted"])
        assert other.entity_id not in again.text
    ours = payment("north:wallet", "north:shop", 1, external_id="mine")
    world.made(world.post("/v1/payments", ours, key=world.north.key))
    theirs = payment("south:wallet", "south:shop", 2, external_id="mine")
    assert world.post("/v1/payments", theirs, key=world.south.key).status_code == 201, "not taken by the other's"
    world.assert_proven()


# Lists, reports


def test_lists_and_totals_are_of_the_keys_own_entities(two_entities: TwoEntities) -> None:
    world, north = two_entities, two_entities.north
    for account_id in (north.accounts["wallet"], world.south.accounts["wallet"], "(unknown)"):
        world.sql("INSERT INTO conflict_count (account_id, retries) VALUES (%s, 7)", account_id)
    paths = (
        "/v1/accounts", "/v1/accounts?limit=1", f"/v1/accounts?entity_id={SOUTH}", "/v1/accounts?after=north:zzz",
        "/v1/reports/trial-balance", f"/v1/reports/trial-balance?entity_id={SOUTH}", "/v1/reports/conflicts",
        "/v1/reports/balance-sheet", "/v1/reports/income-statement", "/v1/reports/conflict-hours",
        "/v1/reports/trial-balance?as_of=2099-01-01T00:00:00Z", f"/v1/payments?external_id=shared&entity_id={SOUTH}",
        "/v1/payments?external_id=shared", "/v1/assets", "/v1/keys", "/v1/journal-proposals",
    )  # fmt: skip
    answers = {path: world.get(path, key=north.key) for path in paths}
    for path, answer in answers.items():
        assert answer.status_code == 200, (path, answer.text)
        for hidden in (SOUTH, *ids(world.south, "payment_id"), world.south.key_id, "(unknown)"):
            assert hidden not in answer.text, path
    bodies = {path: answer.get_json() for path, answer in answers.items()}
    assert [one["account_id"] for one in bodies["/v1/accounts"]["data"]] == sorted(north.accounts.values())
    [total] = bodies["/v1/reports/trial-balance"]["totals"]
    assert (total["account_count"], total["balanced"], total["debit_minor"]) == (3, True, 10_000)
    assert bodies[f"/v1/reports/trial-balance?entity_id={SOUTH}"]["totals"] == []
    assert bodies[f"/v1/payments?external_id=shared&entity_id={SOUTH}"]["data"] == []
    assert [one["account_id"] for one in bodies["/v1/reports/conflicts"]["data"]] == [north.accounts["wallet"]]
    assert [one["key_id"] for one in bodies["/v1/keys"]["data"]] == [north.key_id]
    assert [one["proposal_id"] for one in bodies["/v1/journal-proposals"]["data"]] == [north.proposal]
    nowhere_to_be_found = world.get("/v1/payments?external_id=shared&entity_id=nowhere", key=north.key).text
    assert answers[f"/v1/payments?external_id=shared&entity_id={SOUTH}"].text == nowhere_to_be_found


def test_a_walk_through_pages_meets_no_other_entity(two_entities: TwoEntities) -> None:
    world, north = two_entities, two_entities.north
    for path, field in (("/v1/accounts?limit=1", "account_id"), ("/v1/reports/trial-balance?limit=1", "account_id")):
        met, after = [], ""
        while after is not None:
            page = world.get(f"{path}{'&after=' + after if after else ''}", key=north.key).get_json()
            met += [one[field] for one in page["data"]]
            after = page["next"]
        assert met == sorted(north.accounts.values())


def test_what_is_of_the_whole_installation_is_not_for_a_bound_key(two_entities: TwoEntities) -> None:
    world = two_entities
    routes = [one for one in all_routes() if one.of_installation]
    proofs = r"/v1/(breaks|reconciliation-\w+|reports/break-ageing|statements|statement-\w+|matches)\b.*"
    assert {one.name for one in routes if not re.fullmatch(proofs, one.path)} == {"metrics", "register_asset"}
    assert all(one.of_installation for one in all_routes() if re.fullmatch(proofs, one.path))
    for route in routes:
        response = world.call(route.method, route.path, key=world.north.key, data=b"{}")
        assert_problem(response, 403, "forbidden")


# Keys of several entities, and of none


def test_a_key_of_two_entities_reaches_both_and_no_third(two_entities: TwoEntities) -> None:
    world = two_entities
    key = world.key_with(Scope.READ, Scope.ACCOUNTS_WRITE, entities=[NORTH, SOUTH])
    world.account("elsewhere")
    assert len(world.get("/v1/accounts", key=key).get_json()["data"]) == 6
    assert world.get(f"/v1/payments/{world.south.payments['pending']}", key=key).status_code == 200
    assert_problem(world.get("/v1/accounts/elsewhere/balance", key=key), 404, "account_not_found")
    unnamed = {"account_id": "x", "type": "asset", "currency_code": "EUR"}
    assert_problem(world.post("/v1/accounts", unnamed, key=key), 403, "forbidden")
    assert world.post("/v1/accounts", {**unnamed, "entity_id": SOUTH}, key=key).status_code == 201


def test_a_key_without_bounds_sees_all(two_entities: TwoEntities) -> None:
    world = two_entities
    assert len(world.get("/v1/accounts").get_json()["data"]) == 6
    listed = {one["key_id"] for one in world.get("/v1/keys").get_json()["data"]}
    assert listed >= {world.north.key_id, world.south.key_id}


def test_payments_that_the_ledger_turned_away_are_hidden_too(two_entities: TwoEntities) -> None:
    """A rejection and a late duplicate are found by their ids, and only by their own entity."""
    world = two_entities
    world.sql(
        "INSERT INTO payment_rejection (payment_id, entity_id, external_id, fingerprint, code, detail, figures, intent)"
        " VALUES ('pay_1_1_0', %s, 'x', 'f', 'rejected_by_ledger', 'x', '{}', '{}')",
        SOUTH,
    )
    for number, original in enumerate((world.south.payments["posted"], world.south.payments["authorized"])):
        world.sql("INSERT INTO payment_duplicate VALUES (%s, %s, now())", f"pay_1_2_{number}", original)
    for payment_id in ("pay_1_1_0", "pay_1_2_0", "pay_1_2_1"):
        assert world.services.visibility.has_payment(payment_id, {SOUTH})
        assert world.services.visibility.has_payment(payment_id, {NORTH, SOUTH})
        assert not world.services.visibility.has_payment(payment_id, {NORTH})
