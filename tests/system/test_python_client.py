"""`holdfast-client` against the running system: its README as it stands, and what a checkout depends on."""

import json
import queue
import re
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest
from holdfast_client import AsyncClient, Client, NewJournalEntry, NewPayment
from holdfast_client.codec import plain
from holdfast_client.refusals import AccountNotFound, ExternalIdReused, HoldAlreadyCaptured, InsufficientFunds
from standardwebhooks import Webhook

from app.command_line import PROJECT
from app.embedded.child_process import free_port
from tests.patience import COMMAND_S, PATIENCE_S, until
from tests.system.harness import System

PATIENT = {"deadline_s": COMMAND_S, "attempt_s": PATIENCE_S}
"""Deadlines on a machine that many tests keep busy."""

README = PROJECT / "clients" / "python" / "README.md"


def blocks(path: Path) -> list[str]:
    """The Python of a paper, in its order."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def holdfast(system: System) -> Iterator[Client]:
    """The client, with the account of the bank."""
    with Client(f"http://127.0.0.1:{system.port}", system.key, **PATIENT) as client:
        client.create_account("clearing:bank", "asset", "EUR")
        yield client


def accounts(holdfast: Client, funds_minor: int) -> tuple[str, str]:
    """A wallet with funds, and a shop; new ones."""
    wallet, shop = f"wallet:{uuid4()}", f"shop:{uuid4()}"
    for account_id in (wallet, shop):
        holdfast.create_account(account_id, "liability", "EUR")
    assert holdfast.pay("clearing:bank", wallet, funds_minor, "EUR", wait_s=20).status == "posted"
    return wallet, shop


class Enough(Exception):
    """Ends what would follow events for ever."""


def ended_by_enough(keep_up: Callable[[Client, str], None], url: str, key: str) -> None:
    """Follow events until one is enough, with a client of its own."""
    with Client(url, key, **PATIENT) as client, suppress(Enough):
        keep_up(client, "end")


def test_the_readme_runs_as_it_stands(system: System, holdfast: Client, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{system.port}"
    ten_lines, errors, beginning, fee, entries, stream, report, monitor, events, webhook, awaiting = [
        block.replace("http://127.0.0.1:8080", url) for block in blocks(README)
    ]
    assert len([line for line in ten_lines.splitlines() if line and not line.startswith("#")]) <= 10
    room: dict[str, Any] = {"holdfast": holdfast, "key": system.key}
    for block in (beginning, ten_lines, entries, stream, report, monitor):
        exec(compile(block, str(README), "exec"), room)
    assert capsys.readouterr().out.splitlines()[0] == str(4_000 - 1_500)
    assert holdfast.get_balance("merchant:shop").available_minor == 4_000 - 1_500 - 100 * 5

    exec(compile(fee, str(README), "exec"), room)
    assert holdfast.get_balance("revenue:fees").available_minor == 1_050 - 1_018  # 97 % are 1,018.5

    exec(compile(errors, str(README), "exec"), room)
    said, payment_id = room["authorize"](holdfast, "order-2", "wallet:ada", 300)
    assert said == "authorized"
    assert room["ship"](holdfast, payment_id, 400) == "authorize the difference"
    assert room["ship"](holdfast, payment_id, 300) == room["ship"](holdfast, payment_id, 300) == "captured"
    assert room["ship"](holdfast, payment_id, 200).startswith("look at it")
    assert room["give_back"](holdfast, payment_id, 100, "return-2") == "refunded"
    assert room["give_back"](holdfast, payment_id, 201, "return-3") == "no more than 200 remains"
    assert room["recover"](holdfast, "order-2") == payment_id
    for _ in range(2):
        assert room["authorize"](holdfast, "order-3", "wallet:ada", 10**9)[0].startswith("declined: ")
    assert room["recover"](holdfast, "order-3") is room["recover"](holdfast, "order-unknown") is None
    assert room["authorize"](holdfast, "order-4", "wallet:nobody", 1)[0] == "declined: this wallet cannot pay"
    _, payment_id = room["authorize"](holdfast, "order-5", "wallet:ada", 100)
    holdfast.void(payment_id)
    assert room["ship"](holdfast, payment_id, 100) == "authorize again"
    nobody = Client(f"http://127.0.0.1:{free_port()}", "k", deadline_s=0.2)
    assert room["authorize"](nobody, "order-6", "wallet:ada", 1) == ("we are still checking", None)
    nobody.close()

    saved = queue.SimpleQueue[str]()

    def save(payment_id: str, *_: str) -> None:
        saved.put(payment_id)
        if threading.current_thread() is not threading.main_thread():
            raise Enough

    room["save"] = save
    for block in (events, webhook, awaiting):
        exec(compile(block, str(README), "exec"), room)
    following = threading.Thread(target=ended_by_enough, args=(room["keep_up"], url, system.key))
    following.start()
    secret = "whsec_" + b64encode(bytes(24)).decode()
    assert room["receive"](b"{}", {}, secret) == 400
    assert anyio.run(room["check_out"], url, system.key) >= 2
    event = next(holdfast.follow_events("0", types=["payment.posted"], account_id="wallet:ada"))
    body = json.dumps(plain(event))
    sent_at = datetime.now(UTC)
    headers = {"webhook-id": event.id, "webhook-timestamp": str(int(sent_at.timestamp()))}
    headers["webhook-signature"] = Webhook(secret).sign(event.id, sent_at, body)
    assert room["receive"](body.encode(), headers, secret) == 204
    assert saved.get(timeout=PATIENCE_S).startswith("pay_")

    def has_followed() -> bool:  # its stream begins at some moment
        holdfast.pay("clearing:bank", "wallet:ada", 1, "EUR", wait_s=20)
        following.join(1.0)
        return not following.is_alive()

    until(has_followed, within_s=COMMAND_S)


def test_an_account_a_payment_an_authorization_a_refund_and_a_trial_balance(holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 1_000)
    assert holdfast.pay(wallet, shop, 100, "EUR", wait_s=20).status == "posted"
    held = holdfast.authorize(wallet, shop, 300, "EUR", expires_in_s=3_600)
    assert (held.status, holdfast.get_balance(wallet).held_minor) == ("authorized", 300)
    assert held.expires_at is not None
    assert held.accepted_at is not None
    assert (held.expires_at - held.accepted_at).total_seconds() == 3_600
    assert holdfast.capture(held, 200).captured_minor == 200
    refunded = holdfast.refund(held, 50, reason="came back")
    assert (refunded.amount_minor, [one.refund_id for one in holdfast.list_refunds(held)]) == (50, [refunded.refund_id])
    paid = holdfast.get_payment(held)
    assert (paid.status, paid.refundable_minor) == ("captured", 150)
    assert holdfast.get_balance(wallet).available_minor == 1_000 - 100 - 200 + 50
    assert all(total.balanced for total in holdfast.trial_balance().totals)
    assert holdfast.get_evidence(held)["subject"]["id"] == held.payment_id


def test_the_same_external_id_is_the_same_payment_and_another_payment_is_refused(holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 1_000)
    external_id = str(uuid4())
    first = holdfast.pay(wallet, shop, 100, "EUR", external_id=external_id)
    assert holdfast.pay(wallet, shop, 100, "EUR", external_id=external_id).payment_id == first.payment_id
    with pytest.raises(ExternalIdReused) as refused:
        holdfast.pay(wallet, shop, 101, "EUR", external_id=external_id)
    assert (refused.value.external_id, refused.value.figures["field"]) == (external_id, "amount_minor")
    assert refused.value.request_id
    found = holdfast.find_payment(external_id)
    assert found is not None
    assert found.payment_id == first.payment_id
    assert holdfast.find_payment("of nobody") is None
    assert holdfast.get_balance(wallet).available_minor == 900


def test_refusals_have_the_class_of_their_code_and_their_figures(holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 10)
    with pytest.raises(InsufficientFunds) as refused:
        holdfast.pay(wallet, shop, 11, "EUR")
    assert refused.value.figures["available_minor"] == 10
    with pytest.raises(AccountNotFound):
        holdfast.get_balance("wallet:nobody")
    held = holdfast.authorize(wallet, shop, 5, "EUR")
    holdfast.capture(held)
    holdfast.capture(held)
    with pytest.raises(HoldAlreadyCaptured):
        holdfast.capture(held, 4)


def test_accounts_journals_and_keys(holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 100)
    changed = holdfast.change_account(wallet, status="frozen", reason="lost")
    assert changed.status == "frozen"
    holdfast.change_account(wallet, status="open", reason="found")
    assert [one.reason for one in holdfast.list_changes(wallet)] == ["lost", "found"]
    assert wallet in {one.account_id for one in holdfast.list_accounts(currency_code="EUR")}
    entries = [
        NewJournalEntry(account_id=wallet, direction="debit", amount_minor=30),
        NewJournalEntry(account_id=shop, direction="credit", amount_minor=30),
    ]
    journal = holdfast.post_journal(entries, "a correction")
    assert journal.journal_id is not None
    assert holdfast.reverse_journal(journal.journal_id, "a mistake").reverses == journal.journal_id
    assert [one.amount_minor for one in holdfast.list_entries(wallet)] == [100, 30, 30]
    made = holdfast.create_key("a test", ["payments:read"])
    assert made.key_id in {one.key_id for one in holdfast.list_keys()}
    assert holdfast.revoke_key(made.key_id).status == "revoked"
    assert holdfast.readiness().status == "ready"
    assert holdfast.ask("GET", "/v1/openapi.json")["openapi"].startswith("3.1")


def test_a_stream_answers_each_payment_in_its_order_and_a_second_one_moves_nothing(holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 500)
    name = uuid4()
    asked = [
        NewPayment(
            external_id=f"{name}-{number}",
            source_account_id=wallet,
            destination_account_id=shop,
            amount_minor=1,
            currency_code="EUR",
        )
        for number in range(600)
    ]
    first = list(holdfast.pay_stream(asked))
    assert [one.asked for one in first] == asked
    assert len([one for one in first if one.payment is not None]) == 500
    assert {one.error.code for one in first if one.error is not None} == {"insufficient_funds"}
    again = list(holdfast.pay_stream(iter(asked)))
    assert all(one.replayed for one in again)
    assert holdfast.get_balance(wallet).available_minor == 0
    [single] = holdfast.pay_batch(asked[:1])
    assert (single.status, single.replayed) == (200, True)


def test_the_asynchronous_client_does_the_same(system: System, holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 1_000)

    async def asked() -> AsyncIterator[NewPayment]:
        for _ in range(5):
            yield NewPayment(source_account_id=wallet, destination_account_id=shop, amount_minor=1, currency_code="EUR")

    async def check_out() -> None:
        async with AsyncClient(f"http://127.0.0.1:{system.port}/v1", system.key, **PATIENT) as client:
            held = await client.authorize(wallet, shop, 300, "EUR")
            await client.capture(held)
            await client.refund(held, 100)
            assert [one.payment is not None async for one in client.pay_stream(asked())] == [True] * 5
            assert len([one async for one in client.list_refunds(held)]) == 1
            assert (await client.get_balance(wallet)).available_minor == 1_000 - 300 + 100 - 5
            report = await client.trial_balance()
            assert all(total.balanced for total in report.totals)
            with pytest.raises(InsufficientFunds):
                await client.pay(wallet, shop, 10**6, "EUR")

    anyio.run(check_out)


class Losing(httpx.BaseTransport):
    """A network that carries every request and loses the first answers."""

    def __init__(self, losses: int) -> None:
        self.network = httpx.HTTPTransport()
        self.losses = losses

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry it; the answer may get lost."""
        response = self.network.handle_request(request)
        if self.losses:
            self.losses -= 1
            response.close()
            raise httpx.ReadError("connection reset", request=request)
        return response


def test_lost_answers_move_nothing_twice(system: System, holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 1_000)
    network = Losing(2)
    with httpx.Client(transport=network) as http:
        client = Client(f"http://127.0.0.1:{system.port}", system.key, http=http, **PATIENT)
        held = client.authorize(wallet, shop, 100, "EUR")
        for call in (lambda: client.capture(held), lambda: client.refund(held, 40, external_id=str(uuid4()))):
            network.losses = 1
            call()
    balance = holdfast.get_balance(wallet)
    assert (balance.balance_minor, balance.held_minor) == (1_000 - 100 + 40, 0)


def test_events_are_read_followed_and_streamed_without_a_gap(system: System, holdfast: Client) -> None:
    wallet, shop = accounts(holdfast, 1_000)
    beginning = holdfast.read_events("end").next
    paid = [holdfast.pay(wallet, shop, 10, "EUR", wait_s=20).payment_id for _ in range(3)]
    wanted = {"types": ["payment.posted"], "account_id": wallet}
    followed = islice(holdfast.follow_events(beginning, types=["payment.posted"], account_id=wallet), 3)
    assert [one.data["payment_id"] for one in followed] == paid
    streamed = holdfast.stream_events(beginning, types=["payment.posted"], account_id=wallet)
    first = [next(streamed), next(streamed)]
    assert [one.data["payment_id"] for one in first] == paid[:2]
    rest = next(holdfast.follow_events(first[-1].sequence, types=["payment.posted"], account_id=wallet))
    assert rest.data["payment_id"] == paid[2]
    streamed.close()  # type: ignore[attr-defined]

    async def follow() -> list[str]:
        async with AsyncClient(f"http://127.0.0.1:{system.port}", system.key, **PATIENT) as client:
            found = []
            async for one in client.stream_events(beginning, **wanted):  # type: ignore[arg-type]
                found.append(one.data["payment_id"])
                if len(found) == 3:
                    return found
        return found

    assert anyio.run(follow) == paid


def test_webhooks_are_set_up(holdfast: Client) -> None:
    made = holdfast.create_webhook("https://shop.example/holdfast", types=["payment.posted"], ordered=True)
    assert made.secret.startswith("whsec_")
    assert made.endpoint_id in {one.endpoint_id for one in holdfast.list_webhooks()}
    assert list(holdfast.list_dead_letters(made.endpoint_id)) == []
    assert holdfast.delete_webhook(made.endpoint_id).state == "deleted"
