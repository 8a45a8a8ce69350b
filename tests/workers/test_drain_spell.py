"""A drain job waits while another drain is at work, takes over when that one is gone, and ends when it is idle."""

from threading import Thread

from tests.builders import PARTITIONS
from tests.patience import PATIENCE_S, until
from tests.world import World
from workers.drain import LINGER_S, DrainSpell

WAITED = "while another is at work"


def test_a_drain_job_waits_while_another_drain_is_at_work_and_then_takes_over(world: World) -> None:
    world.bank()
    world.account("alice", balance_minor=100)
    job = DrainSpell(world.new_drain())
    thread = Thread(target=job.run, daemon=True)
    with world.new_posting_session().draining(range(PARTITIONS)) as held:
        assert len(held) == PARTITIONS
        world.accepted("alice", "bank", 10, WAITED)
        thread.start()
        thread.join(2 * LINGER_S)
        assert thread.is_alive(), "a job that ends would only be called again"
        assert not job.has_drained
        assert WAITED not in world.posted_external_ids()
    until(lambda: WAITED in world.posted_external_ids())
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "there is nothing left to do"
    assert job.has_drained
