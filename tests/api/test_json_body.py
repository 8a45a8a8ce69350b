"""Reading JSON strictly: what is nested too deep or has a key twice is refused, and nothing else is."""

import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings, strategies
from msgspec import inspect

from app.api.json_body import DEEPEST, JsonBody
from app.api.payment_schema import NewPayment
from app.api.responses import Refused
from app.api.routes import Route
from tests.api.test_gate import WITH_BODY, named, path_of
from tests.api.world import BANK, World, assert_problem, payment


def nested(depth: int) -> bytes:
    return b'{"metadata": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


@pytest.mark.parametrize("route", WITH_BODY, ids=named)
@pytest.mark.parametrize("depth", [DEEPEST + 1, 8_000, 100_000])
def test_deep_json_is_refused_before_a_decoder_recurses_into_it(shared_world: World, route: Route, depth: int) -> None:
    response = shared_world.call(route.method, path_of(route), data=nested(depth))
    assert "nested deeper" in assert_problem(response, 400, "malformed_request")["detail"]


@pytest.mark.parametrize("text", ["[{" * 400, "[{" * 400 + '"\\', '\\"' + "[{" * 400])
def test_brackets_in_a_text_are_not_nesting(world: World, text: str) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    assert world.pay(BANK, "alice", 1, description=text).status_code == 201


@pytest.mark.parametrize("text", ["[{", '[{"', '"[{\\'])
def test_texts_before_it_hide_no_nesting(shared_world: World, text: str) -> None:
    deep = json.dumps({"description": text, "metadata": None}).encode()
    response = shared_world.post("/v1/payments", deep.replace(b"null", b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1)))
    assert "nested deeper" in assert_problem(response, 400, "malformed_request")["detail"]


REPEATED = [
    b'{"external_id": "e", "external_id": "f"}',
    b'{"external_id": "e", "external_\\u0069d": "f"}',
    b'{"metadata": {"a": 1, "a": 2}}',
    b'{"metadata": {"a": 1, "\\u0061": 1}}',
    b'{"metadata": {"deep": [{"b": 1, "b": 2}]}}',
]


@pytest.mark.parametrize("repeated", REPEATED)
def test_a_key_that_stands_twice_is_refused_by_name(shared_world: World, repeated: bytes) -> None:
    whole = json.dumps(payment("alice", "bob", 1)).encode()[:-1] + b", " + repeated[1:]
    if b"metadata" not in repeated:
        whole = whole.replace(b'"external_id": "', b'"description": "', 1)
    response = shared_world.post("/v1/payments", whole)
    problem = assert_problem(response, 400, "malformed_request")
    assert "stands twice" in problem["detail"]
    assert problem["field"] in ("external_id", "a", "b")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/journals", b'{"external_id": "a", "external_id": "b", "entries": [], "reason": "r"}'),
        ("/v1/accounts", b'{"account_id": "a", "type": "asset", "type": "liability", "currency_code": "EUR"}'),
        ("/v1/payments/nothing/capture", b'{"amount_minor": 300, "amount_minor": null}'),
        ("/v1/payments/nothing/refunds", b'{"external_id": "r", "amount_minor": 1, "amount_minor": 2}'),
        ("/v1/payments/batch", b'{"payments": [], "atomic": true, "atomic": false}'),
        ("/v1/payments/batch", b'{"payments": [], "atomic": true, "\\u0061tomic": false}'),
    ],
)
def test_no_route_takes_the_last_of_two_equal_keys(shared_world: World, path: str, body: bytes) -> None:
    response = shared_world.post(path, body)
    assert response.status_code == 400
    assert response.get_json()["code"] == "malformed_request"


def objects_in(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """The objects of which a kind of document is made."""
    parts: list[inspect.Type] = []
    if isinstance(kind, inspect.StructType):
        yield kind
        parts = [one.type for one in kind.fields]
    elif isinstance(kind, inspect.Metadata):
        parts = [kind.type]
    elif isinstance(kind, inspect.UnionType):
        parts = [*kind.types]
    elif isinstance(kind, inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType):
        parts = [kind.item_type]
    elif isinstance(kind, inspect.DictType):
        parts = [kind.value_type]
    for part in parts:
        yield from objects_in(part)


@pytest.mark.parametrize("route", WITH_BODY, ids=named)
def test_a_default_is_not_written_so_it_hides_no_repeated_key(route: Route) -> None:
    assert route.body is not None
    kinds = [route.body.kind, *([route.body.read_as] if route.body.read_as else [])]
    for found in (one for kind in kinds for one in objects_in(inspect.type_info(kind))):
        assert found.cls.__struct_config__.omit_defaults, found.cls


SOME_MEMBERS = {
    "external_id": ["e1", "é"],
    "source_account_id": ["alice"],
    "destination_account_id": ["bob", None],
    "amount_minor": [1, 2],
    "currency_code": ["EUR"],
    "description": [None, "x", ': "', "amount_minor"],
    "capture": ["automatic", "manual"],
    "expires_in_s": [None, 60],
    "expected_version": [None, 3],
    "metadata": [None, {}, {"a": {"b": ["c", {"d": None}]}}],
    "destinations": [None, [], [{"account_id": "bob", "share": "1", "remainder": False, "amount_minor": None}]],
}


@settings(max_examples=300, deadline=None)
@given(drawn=strategies.data(), spaces=strategies.sampled_from([(",", ":"), (", ", " : "), (",\n", "\t:\n")]))
def test_a_repeated_key_is_seen_wherever_it_stands(drawn: strategies.DataObject, spaces: tuple[str, str]) -> None:
    members = [(name, drawn.draw(strategies.sampled_from(values))) for name, values in SOME_MEMBERS.items()]
    given = [one for one in members if one[0] in REQUIRED or drawn.draw(strategies.booleans())]
    again = drawn.draw(strategies.sampled_from([one[0] for one in given]))
    repeated = (again, drawn.draw(strategies.sampled_from(SOME_MEMBERS[again])))
    place = drawn.draw(strategies.integers(0, len(given)))
    assert read(given, spaces) is None
    assert read([*given[:place], repeated, *given[place:]], spaces) == again


REQUIRED = ("external_id", "source_account_id", "amount_minor", "currency_code")


def read(members: Sequence[tuple[str, object]], spaces: tuple[str, str]) -> object:
    """The field for which a document is refused; None if it is read."""
    comma, colon = spaces
    whole = comma.join(f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in members)
    try:
        JsonBody(NewPayment).decode(f"{{{whole}}}".encode())
    except Refused as refused:
        return refused.refusal.figures["field"]
    return None


def test_a_payment_that_is_nested_too_deep_spoils_itself_alone(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    good = json.dumps(payment(BANK, "alice", 1)).encode()
    for depth in (DEEPEST, 900):
        response = world.post("/v1/payments/batch", b'{"payments": [' + nested(depth) + b", " + good + b"]}")
        items = response.get_json()["data"]
        assert [item["status"] for item in items] == [400, 201 if depth == DEEPEST else 200]
        assert "nested deeper" in items[0]["problem"]["detail"]


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_a_batch_that_cannot_be_taken_apart_is_refused(shared_world: World, depth: int) -> None:
    response = shared_world.post("/v1/payments/batch", b'{"payments": [' + nested(depth) + b"]}")
    assert "nested deeper" in assert_problem(response, 400, "malformed_request")["detail"]


def test_a_key_twice_in_one_payment_of_a_batch_spoils_that_payment_alone(world: World) -> None:
    world.account(BANK, "asset")
    world.account("alice")
    good = json.dumps(payment(BANK, "alice", 1)).encode()
    bad = json.dumps(payment(BANK, "alice", 1)).encode()[:-1] + b', "amount_minor": 100000}'
    response = world.post("/v1/payments/batch", b'{"payments": [' + good + b", " + bad + b"]}")
    items = response.get_json()["data"]
    assert [item["status"] for item in items] == [201, 400]
    assert items[1]["problem"]["field"] == "amount_minor"
