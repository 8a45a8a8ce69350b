"""`webhooks` and `monitors` on the command line, over a real ledger."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from app.arguments import parse
from app.commands import monitors, webhooks
from app.domain.events import EventType
from app.domain.webhooks import RETRIED_FOR
from tests.events.desk import Desk
from tests.events.receiver import Receiver
from tests.events.test_monitors import follower_of

COMMANDS = {"webhooks": webhooks.run, "monitors": monitors.run}


@dataclass
class Said:
    """What a command printed, with its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """Its lines, each in its columns."""
        return [re.split(" {2,}", line) for line in self.out.splitlines()]


Typed = Callable[..., Said]


@pytest.fixture
def typed(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Types a command that works on the servers of the test."""
    settings = desk.world.settings
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("HOLDFAST_OWNER_DATABASE_URL", settings.owner_database_url)
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("HOLDFAST_ALLOW_PRIVATE_WEBHOOKS", "1")

    def type_in(command: str, *arguments: str) -> Said:
        code = COMMANDS[command](parse(command, [*arguments, "--data-dir", str(tmp_path)]))
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return type_in


def made(typed: Typed, receiver: Receiver, *options: str) -> str:
    """The id of an endpoint that was made on the command line; its receiver knows the secret."""
    said = typed("webhooks", "create", receiver.url, *options)
    assert said.code == 0, said.err
    endpoint_id, secret = said.out.split()
    receiver.secrets.append(secret)
    return endpoint_id


def rounds(desk: Desk, endpoint_id: str, count: int = 1, *, later: timedelta = timedelta()) -> None:
    """Deliver to an endpoint."""
    desk.rounds(desk.known(endpoint_id), count, later=later)


def state(typed: Typed, endpoint_id: str) -> str:
    """The state that `webhooks list` shows of an endpoint."""
    [line] = [one for one in typed("webhooks", "list").lines if one[0] == endpoint_id]
    return line[2]


# Webhooks


def test_an_endpoint_is_made_with_all_that_can_be_said_of_one_and_is_listed(
    desk: Desk, typed: Typed, receiver: Receiver
) -> None:
    assert typed("webhooks", "list").out == ""
    options = ("--name", "the shop", "--type", "payment.posted", "--type", "payment.refunded", "--type")
    options += ("payment.posted", "--account", "bob", "--entity", "default", "--ordered")
    endpoint_id = made(typed, receiver, *options)
    found = desk.endpoints.ledger.get(endpoint_id)
    assert found is not None
    assert found.types == (EventType.PAYMENT_POSTED, EventType.PAYMENT_REFUNDED), "each once"
    assert (found.account_id, found.entities, found.created_by) == ("bob", ("default",), "command line")
    [line] = typed("webhooks", "list").lines
    assert (line[0], line[1][:2], line[2:4]) == (endpoint_id, "20", ["enabled", receiver.url])
    assert line[4:] == ["payment.posted,payment.refunded", "in order", "the shop"]
    desk.pay()
    assert "1 unread" in typed("webhooks", "list").lines[0]
    rounds(desk, endpoint_id)
    assert "1 unread" not in typed("webhooks", "list").lines[0]
    assert [one["type"] for one in receiver.taken] == ["payment.posted"]
    assert receiver.forged == []


def test_what_cannot_be_is_refused_and_nothing_is_made(
    desk: Desk, typed: Typed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = typed("webhooks", "create", "https://shop.example/x", "--account", "nobody")
    assert (nobody.code, nobody.out, nobody.err) == (1, "", "There is no account 'nobody'.\n")
    with pytest.raises(SystemExit) as refused:
        typed("webhooks", "create", "https://shop.example/x", "--type", "payment.imagined")
    assert refused.value.code == 2
    assert "invalid choice: 'payment.imagined'" in capsys.readouterr().err
    monkeypatch.delenv("HOLDFAST_ALLOW_PRIVATE_WEBHOOKS")
    for url in ("http://shop.example/x", "https://10.0.0.1/x"):
        said = typed("webhooks", "create", url)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("The URL must")
    assert desk.endpoints.ledger.page(limit=9, after=None) == []


def test_a_rotated_secret_signs_beside_the_former_one_for_as_long_as_was_said(
    desk: Desk, typed: Typed, receiver: Receiver
) -> None:
    endpoint_id = made(typed, receiver)
    [former] = receiver.secrets
    said = typed("webhooks", "rotate", endpoint_id, "--overlap-hours", "2")
    assert (said.code, said.out.startswith("whsec_")) == (0, True)
    for secret in (former, said.out.strip()):
        receiver.secrets[:] = [secret]
        desk.pay()
        rounds(desk, endpoint_id)
        assert receiver.forged == []
    last = typed("webhooks", "rotate", endpoint_id, "--overlap-hours", "0").out.strip()
    desk.pay()
    rounds(desk, endpoint_id)
    assert receiver.forged, "the former secrets have ended"
    receiver.forged.clear()
    receiver.secrets[:] = [last]
    desk.pay()
    rounds(desk, endpoint_id)
    assert receiver.forged == []


def test_an_endpoint_is_disabled_enabled_again_and_deleted_for_good(
    desk: Desk, typed: Typed, receiver: Receiver
) -> None:
    endpoint_id = made(typed, receiver)
    assert typed("webhooks", "disable", endpoint_id).out == f"Endpoint {endpoint_id} is disabled.\n"
    assert state(typed, endpoint_id) == "disabled"
    desk.pay()
    assert desk.deliveries.endpoints() == []
    assert typed("webhooks", "enable", endpoint_id).out == f"Endpoint {endpoint_id} is enabled.\n"
    rounds(desk, endpoint_id)
    assert receiver.taken, "it is told of what happened meanwhile"
    assert typed("webhooks", "delete", endpoint_id).out == f"Endpoint {endpoint_id} is deleted.\n"
    assert typed("webhooks", "list").out == ""
    said = typed("webhooks", "enable", endpoint_id)
    assert (said.code, said.err) == (1, f"There is no endpoint {endpoint_id!r}.\n")


def test_dead_letters_are_listed_and_sent_again_one_or_all(desk: Desk, typed: Typed, receiver: Receiver) -> None:
    endpoint_id = made(typed, receiver, "--type", "payment.posted")
    receiver.answer = lambda *_: 500
    desk.pay(3)
    rounds(desk, endpoint_id)
    assert "3 tried again" in typed("webhooks", "list").lines[0]
    assert typed("webhooks", "dead", endpoint_id).out == ""
    rounds(desk, endpoint_id, later=RETRIED_FOR + timedelta(hours=1))
    assert "3 given up" in typed("webhooks", "list").lines[0]
    dead = typed("webhooks", "dead", endpoint_id).lines
    assert [line[1] for line in dead] == ["payment.posted"] * 3
    assert {(line[3], line[4]) for line in dead} == {("2 attempts", "500 not now")}
    receiver.answer = lambda *_: 204
    first = dead[0][0]
    assert typed("webhooks", "resend", endpoint_id, first).out == "1 dead letter is sent again.\n"
    rounds(desk, endpoint_id, later=timedelta(seconds=1))
    assert receiver.ids() == [first]
    assert typed("webhooks", "resend", endpoint_id, "evt_unknown").out == "0 dead letters are sent again.\n"
    assert typed("webhooks", "resend", endpoint_id).out == "2 dead letters are sent again.\n"
    rounds(desk, endpoint_id, later=timedelta(seconds=1))
    assert sorted(receiver.ids()) == sorted(line[0] for line in dead)
    assert typed("webhooks", "dead", endpoint_id).out == ""


@pytest.mark.parametrize("action", ["rotate", "enable", "disable", "delete", "dead", "resend"])
def test_an_endpoint_that_is_not_there_is_said_to_be_missing(typed: Typed, action: str) -> None:
    said = typed("webhooks", action, "whe_none")
    assert (said.code, said.out, said.err) == (1, "", "There is no endpoint 'whe_none'.\n")


def test_every_endpoint_and_every_dead_letter_is_listed(
    desk: Desk, typed: Typed, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {made(typed, receiver, "--type", "payment.posted") for _ in range(3)}
    monkeypatch.setattr(webhooks, "PAGE", 2)
    assert {line[0] for line in typed("webhooks", "list").lines} == ids
    endpoint_id = min(ids)
    receiver.answer = lambda *_: 500
    desk.pay(3)
    rounds(desk, endpoint_id)
    rounds(desk, endpoint_id, later=RETRIED_FOR + timedelta(hours=1))
    listed = [line[0] for line in typed("webhooks", "dead", endpoint_id).lines]
    assert len(listed) == len(set(listed)) == 3


def test_what_is_done_on_the_command_line_is_on_record(desk: Desk, typed: Typed, receiver: Receiver) -> None:
    endpoint_id = made(typed, receiver)
    typed("webhooks", "rotate", endpoint_id)
    typed("webhooks", "disable", endpoint_id)
    typed("webhooks", "resend", endpoint_id)
    query = "SELECT action, actor FROM audit_call WHERE action LIKE %s ORDER BY called_at, number"
    assert desk.world.rows(query, "webhook.%") == [
        (action, "command line") for action in ("webhook.create", "webhook.rotate", "webhook.change", "webhook.resend")
    ]


# Monitors


def test_a_monitor_is_made_listed_shown_and_ended(desk: Desk, typed: Typed) -> None:
    created = typed("monitors", "create", "alice", "available", "below", "990", "--name", "top up")
    assert created.code == 0, created.err
    monitor_id = created.out.strip()
    other = typed("monitors", "create", "bob", "balance", "above", "-5").out.strip()
    listed = {line[0]: line for line in typed("monitors", "list").lines}
    assert listed.keys() == {monitor_id, other}
    assert listed[monitor_id][2:] == ["alice", "available below 990", "does not hold", "top up"]
    assert listed[other][2:] == ["bob", "balance above -5", "holds"]
    assert [line[0] for line in typed("monitors", "list", "--account", "bob").lines] == [other]
    desk.pay(20)
    follower_of(desk.world).run_once()
    assert typed("monitors", "show", monitor_id).lines[0][4] == "holds"
    assert typed("monitors", "end", monitor_id).out == f"Monitor {monitor_id} has ended.\n"
    assert [line[0] for line in typed("monitors", "list").lines] == [other]
    assert typed("monitors", "show", monitor_id).lines[0][4].startswith("ended 20")
    assert typed("monitors", "end", monitor_id).code == 0, "the same again answers the same"
    query = "SELECT action, actor FROM audit_call WHERE action LIKE %s AND actor = 'command line'"
    assert [action for action, _ in desk.world.rows(query, "monitor.%")].count("monitor.end") == 1


def test_a_monitor_that_cannot_be_is_refused(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = typed("monitors", "create", "nobody", "held", "above", "1")
    assert (nobody.code, nobody.out, nobody.err) == (1, "", "There is no account 'nobody'.\n")
    for action in ("show", "end"):
        said = typed("monitors", action, "mon_none")
        assert (said.code, said.err) == (1, "There is no monitor 'mon_none'.\n")
    for arguments, what in (
        (("alice", "worth", "below", "1"), "invalid choice: 'worth'"),
        (("alice", "held", "about", "1"), "invalid choice: 'about'"),
        (("alice", "held", "above", "1.50"), "must be a whole number of minor units"),
        (("alice", "held", "above", str(2**53)), "must be a whole number of minor units"),
    ):
        with pytest.raises(SystemExit) as refused:
            typed("monitors", "create", *arguments)
        assert refused.value.code == 2
        assert what in capsys.readouterr().err
    assert typed("monitors", "list").out == ""


def test_every_monitor_is_listed(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {typed("monitors", "create", "alice", "held", "above", str(number)).out.strip() for number in range(3)}
    monkeypatch.setattr(monitors, "PAGE", 2)
    assert {line[0] for line in typed("monitors", "list").lines} == ids
