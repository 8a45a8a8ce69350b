"""Worlds for tests of events: the ledger's own, and one with the API over it."""

from collections.abc import Iterator

import pytest

from tests.api.conftest import fresh_world
from tests.api.world import World as ApiWorld
from tests.databases import Databases
from tests.events.desk import Desk
from tests.events.receiver import Receiver, receiving
from tests.world import World


@pytest.fixture
def api(databases: Databases) -> Iterator[ApiWorld]:
    """The application over a ledger of the test's own."""
    with fresh_world(databases, ApiWorld) as world:
        world.settings = world.with_settings(allow_private_webhooks=True).settings
        yield world


@pytest.fixture
def desk(world: World) -> Desk:
    """Endpoints over a ledger with a payer and a payee."""
    world.account("alice", balance_minor=1_000)
    world.account("bob")
    return Desk(world)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as receiver:
        yield receiver
