"""Everybody is told of every event while everything is killed: webhooks, a reader of the feed, and a stream.

Receivers hang up, hang, answer 500 and 410, and come back. Each gets every event at least once, as the feed tells it,
and the ordered one in the order of each account. A reader of the feed and one of the stream meet each event exactly
once by its id.
"""

import contextlib
import http.client
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from tests.events.receiver import HANGS_UP, accounts_of
from tests.patience import PATIENCE_S, until
from tests.system.harness import BANK, Client, System
from tests.system.load import Traffic, open_wallets
from tests.system.webhook_receiver import ReceiverProcess, digest, receiver_process

LONG = os.environ.get("HOLDFAST_LONG") == "1"
ROUNDS = 12 if LONG else 1
PAYMENTS_A_KILL = 100 if LONG else 30
QUIET_S = 300.0
"""Nothing may arrive for so long before the test fails: the pause after some eight failures of one event in a row."""

VICTIMS = ("workers.deliver", "workers.drain", "valkey-server", "granian", "workers.deliver")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system of its own, which may tell receivers on this machine."""
    directory: Path = tmp_path_factory.mktemp("telling")
    system = System(directory, HOLDFAST_ALLOW_PRIVATE_WEBHOOKS="1")
    try:
        yield system.start()
    finally:
        system.stop()


class Reader:
    """A consumer of the feed, which keeps its cursor and goes on after whatever fails."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.met: list[dict[str, Any]] = []
        self.cursor = "0"
        self.stopped = Event()
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        client = Client(self._system.port, self._system.key, timeout_s=20.0)
        while not self.stopped.is_set():
            try:
                answer = client.request("GET", f"/v1/events?after={self.cursor}&limit=500&wait=2")
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if answer.status == 200:
                self.met += answer.body["data"]
                self.cursor = answer.body["next"]
            else:
                time.sleep(0.05)


class Listener(Reader):
    """A consumer of the stream, which reconnects with the last id that it has met."""

    def _run(self) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._listen()
            time.sleep(0.05)

    def _listen(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._system.port, timeout=15.0)
        headers = {"Authorization": f"Bearer {self._system.key}", "Last-Event-ID": self.cursor}
        try:
            connection.request("GET", "/v1/events/stream", headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                return
            fields: dict[str, str] = {}
            while not self.stopped.is_set() and (line := response.readline()):
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                if "data" in fields:  # a block counts when it is whole
                    self.met.append(json.loads(fields["data"]))
                self.cursor = fields.get("id", self.cursor)
                fields = {}
        finally:
            connection.close()


def endpoint(client: Client, receiver: ReceiverProcess, **more: Any) -> str:
    answer = client.request("POST", "/v1/webhooks", {"url": receiver.url, **more})
    assert answer.status == 201, answer.body
    receiver.believe(answer.body["secret"])
    return str(answer.body["endpoint_id"])


def kill(system: System, part: str) -> None:
    until(lambda: bool(system.named(part)))
    victims = system.named(part)
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=PATIENCE_S)


@pytest.mark.timeout(7_200 if LONG else 1_200)
def test_everybody_is_told_everything_while_everything_is_killed(telling: System, tmp_path: Path) -> None:
    system = telling
    client = system.client()
    client.account(BANK, "asset")
    with (
        receiver_process(tmp_path / "loose", seed=1) as loose,
        receiver_process(tmp_path / "strict", seed=2) as strict,
        receiver_process(tmp_path / "leaving") as leaving,
    ):
        receivers = (loose, strict, leaving)
        for receiver, how in zip(receivers, ("badly", "badly", "gone"), strict=True):
            receiver.answer(how)
        endpoint(client, loose)
        endpoint(client, strict, ordered=True)
        gone = endpoint(client, leaving)
        start = client.get("/v1/events?after=end")["next"]
        reader, listener = Reader(system), Listener(system)
        opening = open_wallets(system, "told", 12, 20_000)
        traffic = Traffic(system, list(opening), "told", threads=6 if LONG else 2)
        try:
            for _ in range(ROUNDS):
                for victim in VICTIMS:
                    traffic.wait_for_more(PAYMENTS_A_KILL)
                    kill(system, victim)
            traffic.wait_for_more(PAYMENTS_A_KILL)
        finally:
            sent = traffic.stop()
        system.wait_posted()
        client.close()  # the process that it spoke to was killed
        until(lambda: bool(client.get(f"/v1/webhooks/{gone}")["state"] == "gone"))
        for receiver in receivers:
            receiver.answer("well")
        assert client.request("PATCH", f"/v1/webhooks/{gone}", {"state": "enabled"}).status == 200
        events = whole_feed(client, "0")
        ids = [one["id"] for one in events]
        told = [one["id"] for one in whole_feed(client, start)]
        try:
            for consumer in (reader, listener):
                while_it_goes_on(partial(has_met, consumer, len(ids)), partial(met, consumer))
            for receiver in receivers:
                explain = partial(standing, system, receivers, told)
                while_it_goes_on(partial(has_all, receiver, told), partial(arrived, receivers), explain)
        finally:
            for consumer in (reader, listener):
                consumer.stopped.set()
        for consumer in (reader, listener):
            assert [one["id"] for one in consumer.met] == ids, "exactly once, in order"
            assert max(Counter(one["id"] for one in consumer.met).values()) == 1
        arrived(receivers)
        assert strict.by_account() == by_account(events, strict)
        said = {one["id"]: digest(one) for one in events}
        messages = [one for receiver in receivers for one in receiver.arrived]
        assert [one for one in messages if one.is_forged] == []
        assert [one for one in messages if one.digest != said[one.event_id]] == [], "it says what the feed says"
        answers = Counter(one.status for one in messages)
        assert {204, 410, 500, 503} <= answers.keys()
        assert {one.status for one in leaving.arrived} == {204, 410}
        print(f"\n{len(sent)} payments, {ROUNDS * len(VICTIMS)} kills, {len(ids)} events; answers {dict(answers)}")
        print(f"{HANGS_UP}: no answer; arrived and taken {[(len(one.arrived), len(one.taken)) for one in receivers]}")
    client.close()
    system.prove()


def while_it_goes_on(
    is_done: Callable[[], bool], progress: Callable[[], int], explain: Callable[[], str] = str
) -> None:
    """Wait until it is so, as long as there is any progress: a busy machine is no failure."""
    while not is_done():
        before = progress()
        until(lambda before=before: is_done() or progress() != before, explain, QUIET_S)


def met(consumer: Reader) -> int:
    """How many events a consumer has met."""
    return len(consumer.met)


def has_met(consumer: Reader, count: int) -> bool:
    """Whether a consumer has met so many events."""
    return met(consumer) >= count


def arrived(receivers: Sequence[ReceiverProcess]) -> int:
    """How many messages have arrived, at whichever receiver."""
    for receiver in receivers:
        receiver.read()
    return sum(len(receiver.arrived) for receiver in receivers)


def has_all(receiver: ReceiverProcess, told: list[str]) -> bool:
    """Whether a receiver has taken all that was told."""
    receiver.read()
    return len(receiver.taken) >= len(told) and receiver.taken.keys() >= {*told}


def standing(system: System, receivers: Sequence[ReceiverProcess], told: list[str]) -> str:
    """How far the receivers are, and what the deliverer knows of them."""
    taken = [len(receiver.taken) for receiver in receivers]
    return f"{taken} of {len(told)} events\n{system.run('webhooks', 'list').stdout}"


def whole_feed(client: Client, after: str) -> list[dict[str, Any]]:
    """Everything after a cursor."""
    found: list[dict[str, Any]] = []
    is_end = False
    while not is_end:
        page = client.get(f"/v1/events?after={after}&limit=1000")
        found += page["data"]
        after, is_end = page["next"], page["is_end"]
    return found


def by_account(events: list[dict[str, Any]], receiver: ReceiverProcess) -> dict[str, list[str]]:
    """What a receiver must have been told of each account, in order: from the first event on that it has got."""
    found: dict[str, list[str]] = {}
    for event in events:
        if event["id"] in receiver.taken:
            for account_id in accounts_of(event):
                found.setdefault(account_id, []).append(event["id"])
    return found
