"""Authorizations on the scripts alone, on the services (`world`), and on the whole application (`api`)."""

from collections.abc import Iterator

import pytest

from app.embedded.servers import ServerUrls
from tests.api.conftest import fresh_world, template
from tests.api.world import World
from tests.funds.conftest import cache

__all__ = ["cache", "template"]


@pytest.fixture
def api(template: ServerUrls) -> Iterator[World]:
    """The application over real servers, with an account that has 1,000 and two that have nothing."""
    with fresh_world(template) as world:
        world.funded("alice", 1_000)
        world.account("bob")
        world.account("carol")
        yield world
