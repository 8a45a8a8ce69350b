"""Fixtures for the tests of posting."""

import pytest

from tests.world import World


@pytest.fixture
def funded(world: World) -> World:
    """Alice with 1,000, and Bob with nothing."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    return world
