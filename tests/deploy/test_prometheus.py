"""Debian's Prometheus scrapes a running system under load, over all of its processes, and an alert fires."""

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS, partition_of
from app.embedded.attach import announced
from app.embedded.child_process import free_port
from tests import hot_state
from tests.api.world import BANK, payment
from tests.audit.running import Audited, audited_system
from tests.deploy.test_files import ALERTS, DEPLOY
from tests.patience import PATIENCE_S, until

CLIENTS = 4


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    with audited_system(tmp_path / "data") as audited:
        yield audited


class Prometheus:
    """A Prometheus with our configuration, scraping each second."""

    def __init__(self, directory: Path, target: str, key: str) -> None:
        self.port = free_port()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        directory.mkdir()
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        (directory / "api-key").write_text(key)
        shutil.copy(ALERTS, directory)
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log").open("w"),
        )

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers; nothing while it starts."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE_S) as response:
                return json.loads(response.read())["data"]
        except OSError:
            return {}

    def value(self, expression: str) -> float | None:
        """The value of an expression now."""
        found = self.ask("query", query=expression).get("result")
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        """The alerts that fire."""
        alerts = self.ask("alerts").get("alerts", ())
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed here: apt install prometheus")
def test_prometheus_scrapes_under_load_and_an_alert_fires(audited: Audited, tmp_path: Path) -> None:
    made = audited.call("POST", "/v1/keys", {"name": "prometheus", "scopes": ["reports:read"]})[1]
    prometheus = Prometheus(tmp_path / "prometheus", f"127.0.0.1:{audited.system.port}", made["key"])
    carols = {"account_id": "carol", "type": "liability", "currency_code": "EUR"}
    assert audited.call("POST", "/v1/accounts", carols)[0] == 201
    stopped, sent = threading.Event(), [0] * CLIENTS

    def pay(client: int) -> None:
        while not stopped.is_set():
            assert audited.call("POST", "/v1/payments", payment(BANK, "alice", 1))[0] == 201
            sent[client] += 1

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(CLIENTS)]
    try:
        for thread in threads:
            thread.start()
        assert audited.call("POST", "/v1/payments", payment(BANK, "carol", 1))[0] == 201
        until(lambda: prometheus.value('up{job="holdfast"}') == 1)
        until(lambda: (prometheus.value("sum(holdfast_settled_payments_total)") or 0) > 100)
        assert "HoldfastBreakOpen" not in prometheus.firing()
        forge_a_hold(audited)

        def fires() -> bool:
            """Whether it is found; a run looks at accounts that have moved since the last one."""
            assert audited.call("POST", "/v1/payments", payment(BANK, "carol", 1))[0] == 201
            time.sleep(0.5)
            return "HoldfastBreakOpen" in prometheus.firing()

        until(fires)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    try:
        until(audited.is_drained)
        [(posted,)] = audited.sql("SELECT count(*) FROM ledger_transaction WHERE kind = 'payment'")
        assert posted > sum(sent)
        # Whichever process answers, it tells what all of them have counted.
        answered = 'sum(holdfast_http_request_seconds_count{method="POST", route="/v1/payments", status="201"})'
        until(lambda: prometheus.value(answered) == posted)
        until(lambda: prometheus.value('sum(holdfast_settled_payments_total{outcome="posted"})') == posted)
        assert prometheus.value("sum(holdfast_batch_payments_sum)") == posted
        for name in ("reserve", "posting", "time_to_posted"):
            assert (prometheus.value(f"sum(holdfast_{name}_seconds_count)") or 0) > 0, name
        assert prometheus.ask("targets")["activeTargets"][0]["lastError"] == ""
    finally:
        prometheus.stop()


def forge_a_hold(audited: Audited) -> None:
    """Hold funds of an account in the cache for no payment."""
    running = announced(audited.system.data_dir)
    assert running is not None
    client = redis.Redis.from_url(running.redis_url, decode_responses=True)
    name = keys.account(partition_of("carol", DEFAULT_PARTITIONS), "carol")
    until(lambda: audited.call("GET", "/v1/accounts/carol/balance")[1]["balance_minor"] == 1)  # which hydrates it
    client.hset(name, "5-5", "7")
    hot_state.add(client, name, held=7)
