"""The Python client's parts that need no server: generated code, values, the two clients, groups of a stream."""

import inspect
import json
import re
import tomllib
from datetime import UTC, datetime, timedelta, timezone

import anyio
import httpx
import pytest
from holdfast_client import (
    AsyncClient,
    Client,
    NewPayment,
    OutcomeUnknown,
    SplitPart,
    Unavailable,
    break_requests,
    event_requests,
    journal_requests,
    key_requests,
    report_requests,
    requests,
    statement_requests,
)
from holdfast_client.batches import LARGEST_GROUP, decided, groups, line_of
from holdfast_client.codec import plain, read
from holdfast_client.exchange import BY_CODE, Answer, Policy, Send
from holdfast_client.models import Account, TrialBalance
from holdfast_client.transport import VERSION

from app.api.responses import catalogue
from app.command_line import PROJECT
from app.commands.reference import files


def test_the_committed_models_are_what_the_document_gives() -> None:
    generated = {path: text for path, text in files().items() if "clients" in path.parts}
    assert len(generated) == 2
    for path, text in generated.items():
        assert path.read_text() == text, "run `python3 -m app reference`"


def test_every_refusal_that_callers_handle_has_a_class() -> None:
    of_callers = {code.value for code, status, _, _ in catalogue() if status not in (408, 429, 500, 503)}
    assert of_callers == set(BY_CODE)


def test_the_package_and_the_client_tell_the_same_version() -> None:
    project = tomllib.loads((PROJECT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


MODULES = (
    requests,
    journal_requests,
    report_requests,
    break_requests,
    statement_requests,
    key_requests,
    event_requests,
)
"""Where operations are described."""

WITHOUT_METHOD = {"/v1/openapi.json"}
"""The document itself."""


def test_every_route_of_the_document_is_described() -> None:
    document = json.loads((PROJECT / "docs" / "openapi.json").read_text())
    sources = "".join(inspect.getsource(module) for module in MODULES)
    of = '"/v1/statement-accounts/{statement_account_id}" + '
    sources += re.sub(r'_of\(statement_account_id, (?:path\()?"', of + '"', sources).replace('" + "', "")
    routes = set(document["paths"]) - WITHOUT_METHOD
    assert {one for one in routes if f'"{one}"' not in sources} == set()


def test_both_clients_have_every_operation() -> None:
    described = {
        name
        for module in MODULES
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")
    } - {"id_of", "stream_of_events"}
    for kind in (Client, AsyncClient):
        assert {name for name in described if hasattr(kind, name)} == described
        for name in described:
            assert inspect.getdoc(getattr(kind, name)), name


def test_bodies_leave_out_what_is_not_given() -> None:
    asked = NewPayment(external_id="x", source_account_id="a", amount_minor=1, currency_code="EUR")
    assert plain(asked) == {"external_id": "x", "source_account_id": "a", "amount_minor": 1, "currency_code": "EUR"}
    assert re.fullmatch(
        r"[0-9a-f-]{36}", NewPayment(source_account_id="a", amount_minor=1, currency_code="EUR").external_id
    )


def test_a_split_is_sent_as_destinations() -> None:
    sent = json.loads(
        requests.pay(
            "a", [SplitPart(account_id="b", share="0.5"), SplitPart(account_id="c", remainder=True)], 9, "EUR"
        ).content
        or b""
    )
    assert sent["destinations"] == [{"account_id": "b", "share": "0.5"}, {"account_id": "c", "remainder": True}]
    assert "destination_account_id" not in sent


def test_none_is_a_value_of_a_change_and_left_out_is_not() -> None:
    sent = json.loads(requests.change_account("a", overdraft_limit_minor=None, reason="r").content or b"")
    assert sent == {"overdraft_limit_minor": None, "reason": "r"}


def test_times_are_sent_in_utc_and_need_a_zone() -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert plain(moment) == "2026-01-01T10:00:00Z"
    with pytest.raises(ValueError, match="time zone"):
        plain(moment.replace(tzinfo=None))


def test_nested_bodies_are_read() -> None:
    total = {"currency_code": "EUR", "debit_minor": 1, "credit_minor": 1, "difference_minor": 0}
    report = read(TrialBalance, {"totals": [{**total, "account_count": 2, "balanced": True}], "data": [], "next": None})
    assert report.totals[0].balanced
    account = {"account_id": "a", "entity_id": "e", "type": "a_new_word", "currency_code": "EUR", "name": None}
    account |= {"overdraft_limit_minor": None, "status": "open", "metadata": None, "created_by": "key:1"}
    found = read(Account, {**account, "created_at": "2026-01-01T00:00:00.000Z"})
    assert found.created_at == datetime(2026, 1, 1, tzinfo=UTC)


# Streams


def payments(count: int) -> list[NewPayment]:
    """So many payments."""
    return [
        NewPayment(
            external_id=str(n), source_account_id="a", destination_account_id="b", amount_minor=1, currency_code="EUR"
        )
        for n in range(count)
    ]


def test_groups_of_a_stream_are_small_enough_for_one_block_and_lose_nothing() -> None:
    large = NewPayment(source_account_id="a", amount_minor=1, currency_code="EUR", description="x" * LARGEST_GROUP)
    asked = [*payments(1_000), large, *payments(3)]
    found = list(groups(asked))
    assert [line.asked for group in found for line in group] == asked
    assert all(sum(len(line.text) for line in group) <= LARGEST_GROUP for group in found if len(group) > 1)
    assert len(found) < 10


def test_only_the_lines_that_could_not_be_taken_are_sent_again() -> None:
    refused = {"status": 422, "replayed": False, "line": 2}
    refused["problem"] = {"code": "insufficient_funds", "status": 422, "detail": "d", "retryable": False}
    busy = {"status": 503, "replayed": False, "line": 3}
    busy["problem"] = {"code": "cache_unavailable", "status": 503, "detail": "d", "retryable": True}
    done = {"status": 201, "replayed": False, "line": 1}
    rounds = [[done, refused, busy], [busy | {"line": 1}], [done]]
    steps = decided([line_of(one) for one in payments(3)], Policy())
    sent = []
    try:
        step = next(steps)
        while True:
            answer = None
            if isinstance(step, Send):
                sent.append([json.loads(line)["external_id"] for line in (step.request.content or b"").splitlines()])
                lines = rounds.pop(0)
                answer = Answer(200, {}, b"".join(json.dumps(one).encode() + b"\n" for one in lines))
            step = steps.send(answer)
    except StopIteration as end:
        found = end.value
    assert sent == [["0", "1", "2"], ["2"], ["2"]]
    assert [one.error.code if one.error else None for one in found] == [None, "insufficient_funds", None]
    assert found[1].error.external_id == "1"


# How the two clients wait


def slow(request: httpx.Request) -> httpx.Response:
    """A server that accepts and never answers."""
    raise httpx.ReadTimeout("nothing came", request=request)


def away(request: httpx.Request) -> httpx.Response:
    """No server."""
    raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(("server", "kind"), [(slow, OutcomeUnknown), (away, Unavailable)])
def test_both_clients_tell_a_lost_answer_from_a_server_that_was_not_reached(server: object, kind: type) -> None:
    transport = httpx.MockTransport(server)  # type: ignore[arg-type]
    with httpx.Client(transport=transport) as http, pytest.raises(kind):
        Client("http://x", "k", deadline_s=0.1, http=http).pay("a", "b", 1, "EUR")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=transport) as http:
            await AsyncClient("http://x", "k", deadline_s=0.1, http=http).pay("a", "b", 1, "EUR")

    with pytest.raises(kind):
        anyio.run(ask)


def test_an_address_with_v1_at_its_end_is_understood() -> None:
    seen = []

    def server(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url), request.headers["authorization"]))
        return httpx.Response(200, json={"data": [], "next": None})

    with httpx.Client(transport=httpx.MockTransport(server)) as http:
        assert list(Client("http://x/v1/", "k", http=http).list_assets()) == []
    assert seen == [("http://x/v1/assets?limit=1000", "Bearer k")]


def test_pages_are_read_one_after_the_other() -> None:
    asset = {"currency_code": "PTS", "minor_units": 0, "name": "Points", "iso_4217": False}
    asset |= {"registered_at": None, "registered_by": None}
    pages = {None: ([asset], "1"), "1": ([asset, asset], None)}

    def server(request: httpx.Request) -> httpx.Response:
        data, following = pages[request.url.params.get("after")]
        return httpx.Response(200, json={"data": data, "next": following})

    transport = httpx.MockTransport(server)
    with httpx.Client(transport=transport) as http:
        assert len(list(Client("http://x", "k", http=http).list_assets())) == 3

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport) as http:
            return len([one async for one in AsyncClient("http://x", "k", http=http).list_assets()])

    assert anyio.run(ask) == 3
