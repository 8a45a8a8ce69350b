"""`/metrics`: what processes measure, what is read from the servers, and what is left out where one is away."""

import re
import subprocess
import sys
from pathlib import Path

from app.api.metrics import measured
from app.command_line import PROJECT
from tests.api.world import BANK, World
from tests.papers.test_papers import metrics
from tests.patience import COMMAND_S


def families(text: str) -> dict[str, str]:
    """The names of the metrics in a text, and their types."""
    found = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    return {name.removesuffix("_total"): kind for name, kind in found.items()}


def value(text: str, sample: str) -> float:
    """The value of one sample."""
    [found] = re.findall(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_every_metric_is_served_and_only_by_holdfasts_names(world: World) -> None:
    world.funded("alice")
    world.get("/v1/accounts/alice")
    served = families(world.get("/metrics").text)
    assert set(served) == metrics()
    assert "_created" not in world.get("/metrics").text


def test_calls_are_measured_by_route_and_status(world: World) -> None:
    def count(route: str, status: int) -> float:
        name = "holdfast_http_request_seconds_count"
        text = world.get("/metrics").text
        sample = f'{name}{{method="GET",route="{route}",status="{status}"}}'
        return value(text, sample) if sample in text else 0.0

    before = count("/v1/accounts/{account_id}", 404)
    for account_id in ("one", "two", "three"):
        world.get(f"/v1/accounts/{account_id}")
    assert count("/v1/accounts/{account_id}", 404) == before + 3
    world.application.test_client().get("/made/up/1")
    text = world.get("/metrics").text
    assert "made/up" not in text
    assert 'holdfast_http_request_seconds_count{method="none",route="none",status="404"}' in text


def test_age_and_length_of_each_outbox_are_told(world: World) -> None:
    world.funded("alice")
    world.pay(BANK, "alice", 1)
    text = world.get("/metrics").text
    partitions = range(world.settings.partitions)
    lengths = [value(text, f'holdfast_backlog{{partition="{number}"}}') for number in partitions]
    ages = [value(text, f'holdfast_oldest_intent_seconds{{partition="{number}"}}') for number in partitions]
    assert sorted(lengths)[-2:] == [0, 1]
    assert max(ages) == ages[lengths.index(1)] > 0
    assert sum(ages) == max(ages)
    world.drained()


def test_what_a_drain_and_a_proof_measure_is_told(world: World) -> None:
    def told(sample: str) -> float:
        return value(world.get("/metrics").text, sample)

    posted = told("holdfast_time_to_posted_seconds_count"), told("holdfast_batch_payments_sum")
    hydrated = told("holdfast_hydrations_total")
    world.funded("alice")
    assert told("holdfast_time_to_posted_seconds_count") == posted[0] + 1
    assert told("holdfast_batch_payments_sum") == posted[1] + 1
    assert told("holdfast_hydrations_total") > hydrated
    assert 'holdfast_reconciled_seconds{mode="full"}' not in world.get("/metrics").text
    world.assert_proven()
    assert told('holdfast_reconciled_seconds{mode="full"}') < 60


def test_a_server_that_is_away_costs_only_its_own_figures(world: World) -> None:
    world.funded("alice")
    away = world.with_settings(redis_url="redis://127.0.0.1:1/0")
    text = away.get("/metrics", key=world.key).text
    assert value(text, 'holdfast_server_answers{server="cache"}') == 0
    assert value(text, 'holdfast_server_answers{server="ledger"}') == 1
    assert value(text, "holdfast_open_breaks") == 0
    assert "holdfast_http_request_seconds_count" in text
    assert "holdfast_backlog{" not in text


PROCESS = """
import os, sys, time
from app.api.metrics import AUDIT_WAITING, note_answered
from app.domain.origin import Origin
note_answered(Origin("r", began_ns=0, method="GET", route="/x"), 200, 5_000_000)
AUDIT_WAITING.set(7)
if sys.argv[1] == "stay":
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_processes_are_added_up_and_the_present_state_of_dead_ones_is_dropped(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", PROCESS]
    subprocess.run([*command, "end"], env=environment, check=True, timeout=COMMAND_S)
    with subprocess.Popen(
        [*command, "stay"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "ready\n"
        samples = {
            (one.name, tuple(one.labels.values())): one.value
            for family in measured(str(tmp_path))
            for one in family.samples
        }
        living.communicate()
    assert samples["holdfast_http_request_seconds_count", ("GET", "/x", "200")] == 2
    assert samples["holdfast_audit_waiting_records", ()] == 7, "of the one that lives"
