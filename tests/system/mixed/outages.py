"""Outages of servers and processes that lose nothing: each is provoked, must be told, and must pass by itself."""

import time
from datetime import UTC, datetime, timedelta

import psutil
import psycopg

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS
from tests.system.mixed.stage import Stage

TAKEOVER_S = 30.0
"""How soon another drain posts in place of one that hangs; it takes some eight seconds."""


def memory(stage: Stage) -> None:
    """O2: the cache at its limit of memory. Drains go on and make room."""
    cache = stage.system.cache()
    limit = int(cache.info("memory")["used_memory"] * stage.chance.choice((0.9, 1.05)))
    with stage.outage("O2", f"maxmemory {limit}") as one:
        cache.config_set("maxmemory", str(limit))
        try:
            stage.red(one, "cache_memory")
            stage.wait(lambda: stage.watch.looks[-1].backlog == 0, 60.0, "O2: the backlog is posted")
            stage.last()
        finally:
            cache.config_set("maxmemory", "0")


def hanging_drain(stage: Stage) -> None:
    """O3: a drain stops in the middle of a transaction; another one takes over."""
    with stage.outage("O3", "a drain stopped within a transaction") as one:
        stopped = _stopped_in_transaction(stage)
        if stopped is None:
            stage.find("O3: no drain was met within a transaction")
            return
        since = datetime.now(UTC) + timedelta(seconds=1)
        try:
            stage.wait(lambda: _posted_since(stage, since), TAKEOVER_S, "O3: another drain posts")
            one.what += f", another posted after {time.monotonic() - one.began:.1f} s"
            stage.last()
        finally:
            stopped.resume()


def _stopped_in_transaction(stage: Stage) -> psutil.Process | None:
    """A drain that holds a transaction open and is stopped there."""
    in_transaction = """SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast drain%%'
        AND state LIKE 'idle in transaction%%' AND now() - state_change > interval '0.15 s'"""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        for drain in stage.system.named("workers.drain"):
            drain.suspend()
            time.sleep(0.25)
            if stage.sql(in_transaction) != [(0,)]:
                return drain
            drain.resume()
            time.sleep(stage.chance.uniform(0.0, 0.2))
    return None


def _posted_since(stage: Stage, moment: datetime) -> bool:
    return stage.sql("SELECT 1 FROM partition WHERE last_posted_at > %s LIMIT 1", moment) != []


def demoted_cache(stage: Stage) -> None:
    """O4: the cache becomes a replica and is promoted again."""
    cache = stage.system.cache()
    with stage.outage("O4", "the cache demoted to a replica") as one:
        cache.replicaof("127.0.0.1", 1)
        try:
            stage.red(one, "cache")
            stage.last()
        finally:
            cache.replicaof("NO", "ONE")


def read_only_ledger(stage: Stage) -> None:
    """O5: the ledger takes no writes."""
    with stage.outage("O5", "default_transaction_read_only=on") as one:
        stage.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        stage.sql("SELECT pg_reload_conf()")
        try:
            stage.red(one, "ledger")
            stage.last()
        finally:
            stage.sql("ALTER SYSTEM RESET default_transaction_read_only")
            stage.sql("SELECT pg_reload_conf()")


def full_disks(stage: Stage) -> None:
    """O6: no space left under anything."""
    assert stage.data_disk is not None
    assert stage.ledger_disk is not None
    with stage.outage("O6", "every disk full") as one:
        stage.data_disk.fill()
        stage.ledger_disk.fill()
        try:
            stage.red(one, "cache", "ledger", "posting", "workers", within_s=60.0)
            stage.last()
            stage.last()
        finally:
            stage.ledger_disk.free()
            stage.data_disk.free()
    if stage.system.process is None or stage.system.process.poll() is not None:
        stage.find("O6: `up` has ended")


def full_ledger_disk(stage: Stage) -> None:
    """O14: no space left under the ledger alone."""
    assert stage.ledger_disk is not None
    with stage.outage("O14", "the ledger's disk full") as one:
        stage.ledger_disk.fill()
        try:
            stage.red(one, "posting", "ledger", within_s=90.0)
            stage.last()
        finally:
            stage.ledger_disk.free()


def future_stream_ids(stage: Stage) -> None:
    """O7: the cache's clock was years ahead once, so the stream ids of some partitions stay there."""
    ahead = f"{int((time.time() + stage.chance.uniform(0.1, 2) * 365 * 86_400) * 1000)}-0"
    partitions = stage.chance.sample(range(DEFAULT_PARTITIONS), DEFAULT_PARTITIONS // 2)
    cache = stage.system.cache()
    with stage.outage("O7", f"stream ids from {ahead} in {len(partitions)} partitions"):
        for partition in partitions:
            cache.xadd(keys.outbox(partition), {"intent": ""}, id=ahead)
            cache.xdel(keys.outbox(partition), ahead)


def changed_columns(stage: Stage) -> None:
    """O8: columns change their types under kept connections, and back."""
    with stage.outage("O8", "types of columns changed, and back"):
        for type_ in ("varchar(400)", "text"):
            for table, column in (("account", "name"), ("account", "created_by"), ("hold", "description")):
                _alter(stage, f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {type_}")
            stage.last()


def _alter(stage: Stage, statement: str) -> None:
    """Try until nobody holds the table."""
    for _ in range(60):
        try:
            stage.sql(statement)
            return
        except psycopg.errors.LockNotAvailable:
            time.sleep(stage.chance.uniform(0.05, 0.5))
    stage.find(f"O8: no lock for {statement}")


def queue_away(stage: Stage) -> None:
    """O9: the queues' server is away; everything goes on."""
    with stage.outage("O9", "the queues' server away") as one:
        stage.queue.stop()
        try:
            stage.red(one, "queue", status="degraded")
            since = datetime.now(UTC)
            stage.wait(lambda: _posted_since(stage, since), 30.0, "O9: posting goes on")
            stage.last()
        finally:
            stage.queue.begin()
            stage.queue.finish()


def no_drains(stage: Stage) -> None:
    """O10: both drains killed while the supervisor stands still."""
    with stage.outage("O10", "both drains killed, the supervisor stopped") as one, stage.without_supervisor():
        for drain in stage.system.named("workers.drain"):
            drain.kill()
        stage.red(one, "workers")
        stage.last()


# kill -9, after which the supervisor starts them again


def _killed(stage: Stage, name: str, part: str, count: int | None = None) -> None:
    with stage.outage(name, f"kill -9 of {part}"):
        stage.one_process(part)
        for process in stage.system.named(part)[:count]:
            process.kill()


def killed_api(stage: Stage) -> None:
    """K1: the API with all its processes."""
    _killed(stage, "K1", "granian")


def killed_drains(stage: Stage) -> None:
    """K2: both drains."""
    _killed(stage, "K2", "workers.drain")


def killed_cache(stage: Stage) -> None:
    """K3: the cache, which has every acknowledged write on disk."""
    _killed(stage, "K3", "valkey-server")


def killed_ledger(stage: Stage) -> None:
    """K4: the ledger's server."""
    _killed(stage, "K4", "/postgres -D")


def killed_scheduler(stage: Stage) -> None:
    """K5: the scheduler."""
    _killed(stage, "K5", "workers.schedule")
