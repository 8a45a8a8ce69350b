"""The OpenAPI document: well-formed, complete, and true."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.application import all_routes
from app.api.parameters import ANSWER_HEADERS
from app.api.request_ids import HEADER
from app.api.responses import status_of
from app.domain.rate_limits import LARGEST_BURST, MOST_PER_SECOND, RateLimit
from app.domain.refusals import RefusalCode
from app.services.access.api_keys import Scope
from tests.api.schemas import Validator
from tests.api.statement_walk import LAST_ON, walk
from tests.api.test_breaks import drift, worker
from tests.api.test_statements import SOURCE, imported
from tests.api.told import use_webhooks_and_monitors
from tests.api.world import World
from tests.statements.reading import mt940


def test_the_document_is_well_formed_openapi_3_1(shared_world: World) -> None:
    document = shared_world.document
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented_and_nothing_else(shared_world: World) -> None:
    served = {(route.path, route.method.lower()) for route in all_routes()}
    documented = {(path, method) for path, methods in shared_world.document["paths"].items() for method in methods}
    assert documented == served
    assert len(documented) >= 13


def test_every_operation_tells_its_answers_its_refusals_and_its_scope(shared_world: World) -> None:
    names = set()
    for path, methods in shared_world.document["paths"].items():
        for method, operation in methods.items():
            names.add(operation["operationId"])
            assert operation["summary"]
            assert any(status.startswith("2") for status in operation["responses"])
            assert operation.get("security") == [] or "scope" in operation["description"], (method, path)
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"\{(\w+)\}", path))
            assert ("requestBody" in operation) <= (method in ("post", "put", "patch"))
    assert len(names) == sum(len(methods) for methods in shared_world.document["paths"].values())


def test_every_schema_explains_itself_and_every_reference_resolves(shared_world: World) -> None:
    schemas = shared_world.document["components"]["schemas"]
    assert all(schema.get("description") for schema in schemas.values())
    assert set(re.findall(r"#/components/schemas/(\w+)", str(shared_world.document))) == set(schemas)


def test_no_amount_is_documented_as_anything_but_an_integer(shared_world: World) -> None:
    amounts = [
        (name, field, schema)
        for name, kind in shared_world.document["components"]["schemas"].items()
        for field, schema in kind.get("properties", {}).items()
        if field.endswith("_minor")
    ]
    assert len(amounts) >= 10
    for name, field, schema in amounts:
        kinds = {one["type"] for one in schema.get("anyOf", [schema])}
        assert kinds <= {"integer", "null"}, (name, field, schema)


def kinds_asked(document: dict[str, Any]) -> set[str]:
    """The kinds of bodies that are asked, and those inside of them."""
    found: set[str] = set()
    bodies = [one.get("requestBody") for path in document["paths"].values() for one in path.values()]
    new = set(re.findall(r"#/components/schemas/\w+", str(bodies)))
    while new:
        names = {text.rpartition("/")[2] for text in new} - found
        found |= names
        inside = str([document["components"]["schemas"][name] for name in names])
        new = set(re.findall(r"#/components/schemas/\w+", inside))
    return found


def fields(document: dict[str, Any], *, asked: bool) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """The fields of all bodies that are asked, or of all that are answered: kind, name, schema, whether required."""
    of_requests = kinds_asked(document)
    for name, kind in document["components"]["schemas"].items():
        if (name in of_requests) == asked:
            for field, schema in kind.get("properties", {}).items():
                yield name, field, schema, field in kind["required"]


def parts(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What a field can be, apart from null, with references resolved."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return [resolved(document, one) for one in options]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def test_every_field_that_is_asked_tells_its_limits(shared_world: World) -> None:
    limits = {"_id": {"minLength", "maxLength", "pattern"}, "_minor": {"minimum", "maximum"}, "_at": {"format"}}
    asked = list(fields(shared_world.document, asked=True))
    assert len(asked) > 40
    for kind, name, schema, _ in asked:
        for ending, wanted in limits.items():
            if name.endswith(ending):
                for part in parts(shared_world.document, schema):
                    assert wanted <= set(part), (kind, name, part)


def test_a_field_that_may_be_left_out_is_not_demanded_by_a_default(shared_world: World) -> None:
    assert not [field for field in fields(shared_world.document, asked=True) if "default" in field[2]]


OF_OTHERS = {
    ("StatementLineBody", "kind"),
    ("EvidenceTransition", "by"),
    ("BreakBody", "kind"),
    ("BreakDetail", "kind"),
}
"""Fields named like an enumeration that are none: the bank's own word, the id of an intent or a transaction, and the
kinds of breaks, which are more with each thing that is compared."""


def test_what_is_one_of_a_few_words_is_told_as_an_enumeration_and_every_time_as_a_time(shared_world: World) -> None:
    words = {"status", "kind", "code", "durability", "direction", "capture", "by"}
    for asked in (True, False):
        for kind, name, schema, _ in fields(shared_world.document, asked=asked):
            for part in parts(shared_world.document, schema):
                if name in words and part.get("type") != "integer" and (kind, name) not in OF_OTHERS:
                    assert "enum" in part, (kind, name)
                if (name.endswith("_at") and name != "last_at") or name == "at":
                    assert part.get("format") == "date-time", (kind, name)


def test_every_refusal_is_told_by_an_operation_with_its_status(shared_world: World) -> None:
    told = set()
    for methods in shared_world.document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for code in shared_world.resolved(response).get("x-codes", ()):
                    assert status_of(RefusalCode(code)) == int(status)
                    told.add(code)
    of_no_operation, of_items = RefusalCode.METHOD_NOT_ALLOWED, RefusalCode.BATCH_CROSSES_PARTITIONS
    of_pages = RefusalCode.SECOND_PERSON_NEEDED
    assert told == set(RefusalCode) - {of_no_operation, of_items, of_pages}


SPLIT = {"account_id": "b", "remainder": True}
PAYMENT = {"external_id": "e", "source_account_id": "a", "amount_minor": 1, "currency_code": "EUR"}
ENTRIES = [{"account_id": one, "direction": "debit", "amount_minor": 1} for one in "ab"]
JOURNAL = {"external_id": "j", "reason": "r", "entries": ENTRIES}
ACCOUNT = {"account_id": "new", "type": "liability", "currency_code": "EUR"}

BODIES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("POST", "/v1/payments", {**PAYMENT}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b"}, True),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "destinations": None}, True),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "destinations": [SPLIT]}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": None, "destinations": [SPLIT]}, True),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": []}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": [{"account_id": "b"}]}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": [{"account_id": "b", "remainder": False}]}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": [{**SPLIT, "amount_minor": 1}]}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": [{"account_id": "b", "share": "1"}]}, True),
    ("POST", "/v1/payments", {**PAYMENT, "destinations": [{"account_id": "b", "share": "1.0000001"}]}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "external_id": "\ne"}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b" * 129}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "amount_minor": 0}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "amount_minor": 2**53}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "currency_code": "EUR\n"}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "description": "a\0"}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "expected_version": -1}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "expires_in_s": 0}, False),
    ("POST", "/v1/payments", {**PAYMENT, "destination_account_id": "b", "unknown": 0}, False),
    ("POST", "/v1/payments/batch", {"payments": []}, False),
    ("POST", "/v1/accounts", {**ACCOUNT, "overdraft_limit_minor": -1}, False),
    ("POST", "/v1/accounts", {**ACCOUNT, "overdraft_limit_minor": None}, True),
    ("POST", "/v1/accounts", {**ACCOUNT, "account_id": "a/balance"}, False),
    ("POST", "/v1/accounts", {**ACCOUNT, "account_id": " new"}, False),
    ("POST", "/v1/accounts", {**ACCOUNT, "entity_id": ""}, False),
    ("PATCH", "/v1/accounts/{account_id}", {}, False),
    ("PATCH", "/v1/accounts/{account_id}", {"reason": "r"}, False),
    ("PATCH", "/v1/accounts/{account_id}", {"name": None}, True),
    ("PATCH", "/v1/accounts/{account_id}", {"status": "frozen"}, False),
    ("PATCH", "/v1/accounts/{account_id}", {"status": "frozen", "reason": None}, False),
    ("PATCH", "/v1/accounts/{account_id}", {"status": "melted", "reason": "r"}, False),
    ("PATCH", "/v1/accounts/{account_id}", {"status": "frozen", "reason": "r"}, True),
    ("PATCH", "/v1/accounts/{account_id}", {"overdraft_limit_minor": 0}, False),
    ("POST", "/v1/journals", {**JOURNAL}, True),
    ("POST", "/v1/journals", {**JOURNAL, "entries": ENTRIES[:1]}, False),
    ("POST", "/v1/journals", {**JOURNAL, "reason": ""}, False),
    ("POST", "/v1/payments/{payment_id}/capture", {}, True),
    ("POST", "/v1/payments/{payment_id}/capture", {"amount_minor": 0}, False),
    ("POST", "/v1/payments/{payment_id}/refunds", {"external_id": "r", "amount_minor": 0}, False),
]
"""Bodies, and whether the document allows them: then they are refused by what the ledger holds, if at all."""

OF_THE_LEDGER = {"external_id_reused", "journal_unbalanced"}
"""What is refused although the document allows it: an id that a row before has used, and two debits."""


@pytest.mark.parametrize(("method", "path", "body", "is_valid"), BODIES)
def test_the_server_refuses_what_the_document_does_not_allow_and_nothing_else(
    shared_world: World, method: str, path: str, body: dict[str, Any], is_valid: bool
) -> None:
    content = shared_world.document["paths"][path][method.lower()]["requestBody"]["content"]
    whole = {**content["application/json"]["schema"], "components": shared_world.document["components"]}
    assert Validator(whole).is_valid(body) == is_valid
    made = {"account_id": shared_world.account("b"), "payment_id": authorized(shared_world)}
    answer = shared_world.call(method, path.format_map(made), json=body)
    is_refused = answer.status_code >= 400 and answer.get_json()["code"] not in OF_THE_LEDGER
    assert is_refused == (not is_valid), answer.text
    if path.startswith("/v1/accounts/"):
        shared_world.call("PATCH", path.format_map(made), json={"status": "open", "reason": "again"})


def authorized(world: World) -> str:
    """An authorization between accounts that are there."""
    world.account("a", "asset")
    payment_id: str = world.pay("a", "b", 7, capture="manual").get_json()["payment_id"]
    return payment_id


def test_every_header_that_an_operation_tells_is_sent_and_no_other(world: World) -> None:
    told = {
        (operation["operationId"], header)
        for methods in world.document["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if int(status) < 400
        for header in world.resolved(response).get("headers", ())
    }
    of_all = {(name, HEADER) for name, _ in told}
    assert len(of_all) == len(all_routes())
    assert sent_headers(world) - of_all == told - of_all


def sent_headers(world: World) -> set[tuple[str, str]]:
    """Use each operation so that it sends all the headers it can; the operations, and the headers they sent."""
    found: set[tuple[str, str]] = set()
    limited = world.key_with(Scope.ADMIN, limit=RateLimit(MOST_PER_SECOND, LARGEST_BURST))

    def use(operation: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = world.call(method, path, key=limited, json=body, headers=headers)
        assert answer.status_code < 400, answer.text
        found.update((operation, one.name) for one in ANSWER_HEADERS if one.name in answer.headers)
        return answer.get_json()

    for account_id, kind in (("a", "asset"), ("b", "liability")):
        account = {"account_id": account_id, "type": kind, "currency_code": "EUR"}
        use("create_account", "POST", "/v1/accounts", account)
    use("get_account", "GET", "/v1/accounts/b")
    use("change_account", "PATCH", "/v1/accounts/b", {"name": "B"})
    use("get_balance", "GET", "/v1/accounts/b/balance")
    asset = {"currency_code": "PTS", "minor_units": 0, "name": "Points"}
    use("register_asset", "POST", "/v1/assets", asset)
    body = {**PAYMENT, "destination_account_id": "b", "amount_minor": 100}
    paid = use("submit_payment", "POST", "/v1/payments", body, Prefer="wait=0")["payment_id"]
    use("submit_payment", "POST", "/v1/payments", body)
    for action in ("capture", "void"):
        held = world.pay("a", "b", 7, capture="manual").get_json()["payment_id"]
        for _ in range(2):
            use(f"{action}_payment", "POST", f"/v1/payments/{held}/{action}", {}, Prefer="wait=0")
    world.drained()
    sides = (("a", "debit"), ("b", "credit"))
    entries = [{"account_id": one, "direction": side, "amount_minor": 5} for one, side in sides]
    for _ in range(2):
        refund = {"external_id": "r", "amount_minor": 1}
        refunded = use("refund_payment", "POST", f"/v1/payments/{paid}/refunds", refund)["refund_id"]
        posted = use("post_journal", "POST", "/v1/journals", {**JOURNAL, "entries": entries})
        path = f"/v1/journals/{posted['journal_id']}/reversal"
        use("reverse_journal", "POST", path, {"external_id": "back", "reason": "r"})
    proposed = {**JOURNAL, "external_id": "proposed", "entries": entries}
    proposal_id = use("propose_journal", "POST", "/v1/journal-proposals", proposed)["proposal_id"]
    other = use("post_journal", "POST", "/v1/journals", {**proposed, "external_id": "other"})["journal_id"]
    path = f"/v1/journals/{other}/reversal-proposals"
    use("propose_reversal", "POST", path, {"external_id": "proposed back", "reason": "r"})
    use("submit_batch", "POST", "/v1/payments/batch", {"payments": [body]})
    key_id = use("create_key", "POST", "/v1/keys", {"name": "x", "scopes": ["read"]})["key_id"]
    use("rotate_key", "POST", f"/v1/keys/{key_id}/rotate", {})
    use("revoke_key", "DELETE", f"/v1/keys/{key_id}")
    use("save_statement_source", "POST", "/v1/statement-sources", SOURCE)
    imported(world, mt940(":61:251230C1,00NMSC"))
    walked = walk(world, use)
    ids = {"account_id": "b", "payment_id": paid, "refund_id": refunded, "journal_id": posted["journal_id"]}
    ids |= {
        "proposal_id": proposal_id,
        "currency_code": "EUR",
        "key_id": key_id,
        "audit_id": a_record(world),
        "statement_id": a_statement(world),
    }
    named = "?external_id=e"
    queries = {"find_payment": named, "find_evidence": named, "head_consistency": of_head(world, paid)}
    ids |= a_break(world) | use_webhooks_and_monitors(world, use, "b")
    use("withdraw_proposal", "POST", f"/v1/journal-proposals/{proposal_id}/withdrawal")
    use("ask_run", "POST", "/v1/reconciliation-runs", {"mode": "full"})
    use("change_break", "PATCH", f"/v1/breaks/{ids['break_id']}", {"comment": "x"})
    token = use("preview_repair", "GET", f"/v1/breaks/{ids['break_id']}/repair")["token"]
    use("repair_break", "POST", f"/v1/breaks/{ids['break_id']}/repair", {"reason": "r", "token": token})
    ids |= walked.ids
    queries["get_period"] = f"?last_on={LAST_ON}"
    for route in all_routes():
        if route.method == "GET" and route.scope is not None:
            use(route.name, "GET", route.path.format_map(ids) + queries.get(route.name, ""))
    return found


def of_head(world: World, payment_id: str) -> str:
    """What asks for the consistency of the signed head that a payment's evidence ends at."""
    head = world.get(f"/v1/payments/{payment_id}/evidence").get_json()["chain"]["head"]
    return f"?partition={head['partition']}&from_size=1&to_size={head['chain_seq']}"


def a_record(world: World) -> str:
    """The id of a record of the audit."""
    audit_id: str = world.get("/v1/audit").get_json()["data"][-1]["audit_id"]
    return audit_id


def a_break(world: World) -> dict[str, str]:
    """The ids of a break of the cache's, of the run that found it, and of the request for that run."""
    drift(world, "a")
    request_id = world.post("/v1/reconciliation-runs", {"mode": "full"}).get_json()["request_id"]
    assert worker(world).run_once() == 1
    [one] = world.get("/v1/breaks?source=inside").get_json()["data"]
    return {"break_id": one["break_id"], "run_id": one["first_run_id"], "request_id": request_id}


def a_statement(world: World) -> str:
    """The id of a statement."""
    statement_id: str = world.get("/v1/statements").get_json()["data"][0]["statement_id"]
    return statement_id
