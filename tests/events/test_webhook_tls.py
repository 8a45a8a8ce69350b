"""Webhooks over https: a certificate of a trusted authority and of the right name, or nothing is told."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import Misconfigured
from app.domain.events import EventType
from app.settings import settings_from
from app.webhook_sender import trusting
from app.wiring.events import build_deliverer
from tests.events.authority import Authority
from tests.events.desk import Desk
from tests.events.receiver import Receiver, receiving

HOST = "shop.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture(autouse=True)
def shop_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's name leads to this machine."""
    look_up = socket.getaddrinfo

    def here(host: Any, *args: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host == HOST else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@contextmanager
def shop(tls: ssl.SSLContext) -> Iterator[Receiver]:
    """A receiver that is known by the shop's name."""
    with receiving(tls=tls) as receiver:
        receiver.origin = f"https://{HOST}"
        yield receiver


def failure(desk: Desk, receiver: Receiver) -> str:
    """Why an event was not taken, as the log has it; it was, at the first try, counted as a failure."""
    issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
    desk.pay()
    desk.rounds(issued)
    [logged] = desk.endpoints.ledger.attempts(issued.endpoint.endpoint_id, limit=9)
    assert (logged.attempt.status, logged.is_delivered) == (None, False)
    [waiting] = desk.endpoints.ledger.waiting(issued.endpoint.endpoint_id, limit=9, dead=False)
    assert (waiting.attempts, waiting.last_failure) == (1, logged.attempt.answer)
    assert receiver.arrived == []
    return logged.attempt.answer


def test_an_authority_of_ones_own_is_trusted_where_a_file_names_it(desk: Desk, authority: Authority) -> None:
    asked_for: list[str] = []
    tls = authority.server(HOST)
    tls.sni_callback = lambda _, name, __: asked_for.append(name)
    desk.ca_file = str(authority.file)
    with shop(tls) as receiver:
        issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
        desk.pay(3)
        desk.rounds(issued)
        assert len(receiver.ids()) == 3
        assert receiver.forged == []
    assert set(asked_for) == {HOST}, "the connection goes to the address, and asks for the name"


def test_an_authority_that_nobody_trusts_is_refused(desk: Desk, authority: Authority) -> None:
    with shop(authority.server(HOST)) as receiver:
        said = failure(desk, receiver)
    assert said == "the certificate of shop.test is refused: unable to get local issuer certificate"


def test_a_certificate_of_another_name_is_refused(desk: Desk, authority: Authority) -> None:
    desk.ca_file = str(authority.file)
    with shop(authority.server("other.test")) as receiver:
        said = failure(desk, receiver)
    assert said.startswith("the certificate of shop.test is refused: Hostname mismatch")


def test_a_certificate_whose_time_has_passed_is_refused(desk: Desk, authority: Authority) -> None:
    desk.ca_file = str(authority.file)
    with shop(authority.server(HOST, lasts=-timedelta(days=1))) as receiver:
        said = failure(desk, receiver)
    assert said == "the certificate of shop.test is refused: certificate has expired"


def test_what_was_refused_is_delivered_once_the_authority_is_trusted(desk: Desk, authority: Authority) -> None:
    with shop(authority.server(HOST)) as receiver:
        issued = desk.made(receiver, types=[EventType.PAYMENT_POSTED])
        desk.pay()
        desk.rounds(issued)
        desk.ca_file = str(authority.file)
        desk.rounds(issued, later=timedelta(minutes=1))
        assert len(receiver.ids()) == 1


# The file


def test_the_public_authorities_stay_trusted(authority: Authority) -> None:
    public = {str(one["serialNumber"]) for one in trusting("").get_ca_certs()}
    with_own = {str(one["serialNumber"]) for one in trusting(str(authority.file)).get_ca_certs()}
    assert public < with_own
    assert len(public) > 10
    assert len(with_own) == len(public) + 1


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_without_certificates_stops_the_deliverer_with_its_name(
    desk: Desk, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    urls = {"DATABASE_URL": desk.world.settings.database_url, "REDIS_URL": desk.world.settings.redis_url}
    settings = settings_from({**urls, "HOLDFAST_WEBHOOK_CA_FILE": str(file)})
    with pytest.raises(Misconfigured, match=rf"HOLDFAST_WEBHOOK_CA_FILE.*{file.name}"):
        build_deliverer(settings)
    assert settings_from(urls).webhook_ca_file == ""
