"""Outages that replace the cache: what was acknowledged and not posted may be lost, and must then be named."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import redis

from app.embedded.valkey import CacheServer as Valkey
from tests.system.mixed.stage import Loss, Outage, Stage

NAMED_WITHIN_S = 30.0
"""How soon the loss must be on record; the cache is looked at each second."""

PENDING_S = (1.0, 2.5)
"""How long the drains stand still before the cache goes, so that something is pending."""


def older_copy(stage: Stage) -> None:
    """O1: the cache's data as it was some seconds ago is put back."""
    home = Path(tempfile.mkdtemp(prefix="hf-copy-"))
    copy = home / "copy"
    _copy(stage.cache_data(), copy)
    stage.last()

    def put_back(data: Path) -> None:
        shutil.rmtree(data)
        shutil.copytree(copy, data)

    _replace(stage, "O1", "an older copy of the cache's data put back", put_back)
    shutil.rmtree(home)


def lagging_replica(stage: Stage) -> None:
    """O1: a replica that has not received everything takes the cache's place."""
    home = Path(tempfile.mkdtemp(prefix="hf-replica-"))
    (home / "logs").mkdir()
    password = urlsplit(stage.system.running.redis_url).password or ""
    replica = Valkey(home, password)
    replica.begin()
    replica.finish()
    _follow_for_a_while(stage, replica, password)

    def promote(data: Path) -> None:
        shutil.rmtree(data)
        shutil.copytree(home / "cache", data)

    _replace(stage, "O1", "failover to a replica that lagged", promote)
    shutil.rmtree(home)


def _follow_for_a_while(stage: Stage, replica: Valkey, password: str) -> None:
    """Receive everything, then nothing for some seconds, then be a primary; and end in order."""
    client = redis.Redis.from_url(replica.url, decode_responses=True)
    cache = stage.system.cache()
    client.config_set("masterauth", password)
    client.replicaof("127.0.0.1", int(cache.config_get("port")["port"]))
    stage.wait(lambda: client.info("replication").get("master_link_status") == "up", 60.0, "O1: the replica follows")
    stage.last()
    client.config_set("masterauth", "of-nobody")
    with contextlib.suppress(redis.RedisError):
        cache.client_kill_filter(_type="replica")
    stage.last()
    client.replicaof("NO", "ONE")
    client.close()
    replica.stop()


def empty_cache(stage: Stage) -> None:
    """O12: the list of the cache's files, or all of them, are gone when it starts again."""
    is_manifest = stage.chance.random() < 0.5

    def delete(data: Path) -> None:
        for manifest in (data / "appendonlydir").glob("*.manifest") if is_manifest else ():
            manifest.unlink()
        if not is_manifest:
            shutil.rmtree(data / "appendonlydir")

    _replace(stage, "O12", "the manifest deleted" if is_manifest else "appendonlydir deleted", delete)


def _replace(stage: Stage, name: str, what: str, change: Callable[[Path], None]) -> None:
    """Kill the cache while something is pending, change its data, and have the supervisor start it again."""
    with stage.outage(name, what) as one:
        with stage.suspended("workers.drain"):
            time.sleep(stage.chance.uniform(*PENDING_S))
            cache = stage.one_process("valkey-server")
            with stage.without_supervisor():
                cache.kill()
                stage.wait(lambda: not stage.system.named("valkey-server"), 20.0, f"{name}: the cache has ended")
                change(stage.cache_data())
        await_named(stage, one)
    stage.losses.append(Loss(name, one.began_at, one.ended_at, is_named_by_id=True))


def await_named(stage: Stage, one: Outage) -> None:
    """Wait for the break that names the loss."""
    query = """SELECT figures->>'reason', figures->>'lost_payments', figures->>'pending_when_last_seen',
        extract(epoch FROM first_seen_at) FROM reconciliation_break
        WHERE kind = 'cache_lost' AND first_seen_at >= to_timestamp(%s) ORDER BY break_id"""
    if stage.wait(lambda: stage.sql(query, one.began_at) != [], NAMED_WITHIN_S, f"{one.name}: a break names the loss"):
        time.sleep(3.0)  # each process of the API adds what it remembers at its next look
        found = stage.sql(query, one.began_at)
        one.what += f"; {found[0][0]}: {found[0][1]} lost, {found[0][2]} pending when last seen"
        one.red_s, one.told = float(found[0][3]) - one.began_at, "cache_lost"


def _copy(data: Path, copy: Path) -> None:
    """A copy of files that are appended to; a rewrite of the log may delete one meanwhile."""
    while True:
        try:
            shutil.copytree(data, copy)
            return
        except (OSError, shutil.Error):
            shutil.rmtree(copy, ignore_errors=True)
