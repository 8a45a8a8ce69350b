"""Fixtures for the tests of several services."""

import pytest

from tests.world import World


@pytest.fixture
def settled(world: World) -> World:
    """Alice and Bob with a history, everything posted and cached, and one payment pending."""
    world.bank()
    world.account("alice", balance_minor=1_000)
    world.account("bob", balance_minor=50)
    for amount in (10, 20, 30):
        world.accepted("alice", "bob", amount)
        world.drain()
    world.warm("bob")
    world.accepted("alice", "bob", 5, "pending")
    assert world.reconcile().breaks == []
    return world
