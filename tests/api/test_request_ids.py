"""Every answer names its request: by the id that the client sent, where that is sane, and else by a new one."""

import logging
import re
from typing import Any

import pytest

from app.api.request_ids import request_id_from
from tests.api.world import World

MADE = re.compile(r"[0-9a-f]{24}")


@pytest.mark.parametrize("sent", ["a", "order-1.retry_2", "0" * 128])
def test_a_sane_id_is_taken(sent: str) -> None:
    assert request_id_from(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "0" * 129, "a b", "a\n", "é", "<script>", 'a"b', "١"])
def test_any_other_is_replaced(sent: str | None) -> None:
    assert MADE.fullmatch(request_id_from(sent))
    assert request_id_from(sent) != request_id_from(sent)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_each_answer_names_its_own_request(world: World, method: str) -> None:
    for sent in ("first", "second"):
        response = world.application.test_client().open("/healthz", method=method, headers={"X-Request-Id": sent})
        assert response.headers.getlist("X-Request-Id") == [sent]


def test_an_unexpected_error_is_logged_with_the_id_that_is_answered(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(world.services.accounts, "get", broken)
    with caplog.at_level(logging.ERROR):
        response = world.get("/v1/accounts/alice", headers={"X-Request-Id": "the-broken-one"})
    assert (response.status_code, response.headers["X-Request-Id"]) == (500, "the-broken-one")
    assert "unexpected error" in caplog.text
