"""The worlds of the API's tests, with what changing accounts needs besides."""

import pytest

from tests.accounts.desk import Desk
from tests.api.conftest import shared_world, world
from tests.api.world import World

__all__ = ["desk", "shared_world", "world"]


@pytest.fixture
def desk(world: World) -> Desk:
    """Where accounts are changed; waiting for quiet drains the outbox instead of sleeping."""
    return Desk(world)
