"""Worlds for tests of keys."""

from collections.abc import Iterator
from functools import partial

import pytest

from app.api.context import ApiServices
from app.services.access.api_keys import Gatekeeper
from tests.access.work import Work
from tests.access.world import TwoEntities
from tests.api.conftest import fresh_world, shared_world, world
from tests.api.world import World
from tests.databases import Databases

__all__ = ["shared_world", "two_entities", "world"]


@pytest.fixture
def two_entities(databases: Databases) -> Iterator[TwoEntities]:
    """A world in which two entities have things of every kind."""
    with fresh_world(databases, TwoEntities) as world:
        world.prepare = partial(trust_keys, world)
        world.furnish()
        yield world


@pytest.fixture
def work(two_entities: TwoEntities, monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(two_entities, monkeypatch)


def trust_keys(world: World, services: ApiServices) -> None:
    """No time passes for the gatekeeper: a key that was checked is trusted, and no request asks about it again."""
    services.gatekeeper = Gatekeeper(world.ledger_api_keys, lambda: 0.0)
