"""A mixed load during which outages are provoked for real, and an auditor at the end who knows the customers' journals.

The short form takes some outages that pass quickly. HOLDFAST_LONG=1 runs for HOLDFAST_SOAK_MINUTES (60) and provokes
each outage once at a random moment; HOLDFAST_SOAK_SEED repeats a run, HOLDFAST_SOAK_OUTAGES names outages to look into.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from app.embedded.valkey import CacheServer as Valkey
from tests.system.harness import BANK, System, payment
from tests.system.mixed import ledger_facts
from tests.system.mixed.auditor import Audit
from tests.system.mixed.customers import REVENUE, Customer, Town
from tests.system.mixed.deeds import write_down
from tests.system.mixed.disk import Disk, can_mount
from tests.system.mixed.programme import Programme, long_programme, named, short_programme
from tests.system.mixed.stage import Stage
from tests.system.mixed.watch import ReadinessWatch

IS_LONG = os.environ.get("HOLDFAST_LONG") == "1"
MINUTES = float(os.environ.get("HOLDFAST_SOAK_MINUTES", "60"))
SEED = int(os.environ.get("HOLDFAST_SOAK_SEED") or random.SystemRandom().randrange(10**6))
OUTAGES = os.environ.get("HOLDFAST_SOAK_OUTAGES", "")

CUSTOMERS = 8
WALLETS, MERCHANTS, OWN_ACCOUNTS = 60, 12, 2
OPENING_MINOR = 8_000
DATA_DISK_MB, LEDGER_DISK_MB = 3_000, 8_000
CACHE_DEADLINE_S = "3"
"""Users' second, and some for a machine with other work."""

QUIET_WITHIN_S = 300.0
RED_FOR_NO_REASON_S = 10.0
"""How long readiness may be red between outages; a busy machine may keep a process waiting for some seconds."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A running system on disks of its own, if they can be mounted, with queues on a server of theirs."""
    with contextlib.ExitStack() as stack:
        (tmp_path / "queue" / "logs").mkdir(parents=True)
        queue = Valkey(tmp_path / "queue", "secret")
        stack.callback(queue.stop)
        queue.begin()
        queue.finish()
        environment = {"HOLDFAST_QUEUE_URL": queue.url, "HOLDFAST_CACHE_DEADLINE_S": CACHE_DEADLINE_S}
        system = System(tmp_path / "system", **environment)
        disks = [Disk(tmp_path / "data.img", system.data_dir, DATA_DISK_MB)]
        disks.append(Disk(tmp_path / "ledger.img", system.data_dir / "postgres", LEDGER_DISK_MB))
        has_disks = (IS_LONG or "full" in OUTAGES) and can_mount(tmp_path)
        if has_disks:
            stack.callback(disks[0].unmount)
            stack.callback(disks[1].unmount)
            system.data_dir.mkdir()
            disks[0].mount()
        stack.callback(lambda: shutil.copytree(system.data_dir / "logs", tmp_path / "logs", dirs_exist_ok=True))
        stack.callback(system.stop)
        system.start()
        if has_disks:
            give_ledger_its_disk(system, disks[1])
        watch = ReadinessWatch(system)
        watch.start()
        stack.callback(watch.stop)
        chance = random.Random(f"{SEED} outages")
        data_disk, ledger_disk = disks if has_disks else (None, None)
        yield Stage(system, queue, watch, chance, data_disk, ledger_disk, say=say)


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def give_ledger_its_disk(system: System, disk: Disk) -> None:
    """Move the database to a disk of its own, under its old name."""
    system.stop()
    moved = disk.directory.with_name("postgres.moved")
    disk.directory.rename(moved)
    disk.directory.mkdir(mode=0o700)
    disk.mount()
    subprocess.run(["cp", "-a", f"{moved}/.", str(disk.directory)], check=True)
    shutil.rmtree(moved)
    system.start()


def open_town(system: System) -> tuple[Town, list[tuple[str, ...]]]:
    """Accounts with money in the ledger, and which of them each customer may change."""
    client = system.client()
    client.account(BANK, "asset")
    client.account(REVENUE, "revenue")
    wallets = tuple(client.account(f"wallet-{number}") for number in range(WALLETS))
    merchants = tuple(client.account(f"merchant-{number}") for number in range(MERCHANTS))
    own = [
        tuple(client.account(f"own-{customer}-{number}") for number in range(OWN_ACCOUNTS))
        for customer in range(CUSTOMERS)
    ]
    everybody = wallets + tuple(name for names in own for name in names)
    for name in everybody:
        answer = client.pay(payment(BANK, name, OPENING_MINOR, external_id=f"opening-{name}"))
        assert answer.status == 201, answer.body
    client.close()
    system.wait_posted()
    return Town(system.port, system.key, everybody, merchants), own


@pytest.mark.timeout(4 * 3600 if IS_LONG else 900)
def test_nothing_acknowledged_is_lost_unnamed_or_doubled_whatever_is_away_meanwhile(
    stage: Stage, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    programme = chosen_programme(chance, with_disks=stage.data_disk is not None)
    say(f"HOLDFAST_SOAK_SEED={SEED}: " + ", ".join(f"{due:.0f} s {act.__name__}" for due, act in programme.acts))
    began_at, began = time.time(), time.monotonic()
    town, own = open_town(stage.system)
    stopped = Event()
    customers = [Customer(town, f"c{number}", f"{SEED} {number}", own[number], stopped) for number in range(CUSTOMERS)]
    for customer in customers:
        customer.start()
    try:
        programme.run(stage)
        if IS_LONG and not OUTAGES:
            time.sleep(max(0.0, began + 60 * MINUTES - time.monotonic()))
    finally:
        stopped.set()
        for customer in customers:
            customer.join(timeout=400)
        deeds = [deed for customer in customers for deed in customer.deeds]
        write_down(deeds, tmp_path / "journal.jsonl")
    await_quiet(stage)
    report_customers(stage, customers)
    stage.findings += audit(stage, customers, town, began_at)
    stage.findings += [f"red for no reason: {one}" for one in red_for_no_reason(stage)]
    prove(stage)
    for one in stage.outages:
        say(one.line())
    for finding in stage.findings:
        say(f"  {finding}")
    say(f"seed {SEED}, {len(stage.findings)} findings")
    assert stage.findings == []


def chosen_programme(chance: random.Random, *, with_disks: bool) -> Programme:
    if OUTAGES:
        return named(OUTAGES)
    return long_programme(chance, 60 * MINUTES, with_disks=with_disks) if IS_LONG else short_programme(chance)


def await_quiet(stage: Stage) -> None:
    """Until nothing is pending and no authorization is open."""
    open_authorizations = "SELECT count(*) FROM hold WHERE state = 'authorized'"

    def is_quiet() -> bool:
        look = stage.watch.looks[-1]
        return look.is_green and look.backlog == 0 and stage.sql(open_authorizations) == [(0,)]

    stage.wait(is_quiet, QUIET_WITHIN_S, "nothing is pending any more")
    stage.wait(is_quiet, QUIET_WITHIN_S, "nothing is pending any more")


def report_customers(stage: Stage, customers: list[Customer]) -> None:
    """What they were answered; and what nobody should be answered."""
    counts: Counter[str] = Counter()
    for customer in customers:
        counts += customer.desk.counts
        stage.findings += [f"{customer.label}: {fault}" for fault in customer.desk.faults[:20]]
        stage.findings += [f"{customer.label}: {one}" for one in customer.regressions[:20]]
        if customer.error is not None or customer.is_alive():
            stage.find(f"{customer.label} did not come to an end: {customer.error!r}")
    say("answers: " + ", ".join(f"{name} {number}" for name, number in counts.most_common()))


def audit(stage: Stage, customers: list[Customer], town: Town, began_at: float) -> list[str]:
    """The ledger against the journals, the accounts against what was wished, and the cache against the ledger."""
    facts = ledger_facts.read(stage.system)
    result = Audit(facts, stage.losses, began_at)
    result.run(deed for customer in customers for deed in customer.deeds)
    for break_ in facts.named:
        say(f"{break_.subject}: { {**break_.figures, 'payment_ids': len(break_.figures.get('payment_ids', ()))} }")
    own = [name for customer in customers for name in customer.own_accounts]
    result.floors(own, [name for name in town.wallets + town.merchants if name not in own])
    say("audit: " + ", ".join(f"{name} {number}" for name, number in result.counts.most_common()))
    findings = [*result.findings, *ledger_facts.wrong(stage.system)]
    for customer in customers:
        for at, payment_id in customer.missing:
            if payment_id not in result.lost:
                findings.append(f"not found at {at:.1f}, and not lost: {payment_id}")
    client = stage.system.client()
    for customer in customers:
        for account_id, wish in customer.changes.items():
            found = client.get(f"/v1/accounts/{account_id}")
            if wish.is_certain and any(found[name] != value for name, value in wish.fields.items()):
                findings.append(f"{account_id} should be {wish.fields}, and is {found}")
    for account_id in (BANK, REVENUE, *town.wallets, *town.merchants):
        cached = client.balance(account_id)
        if (cached["balance_minor"], cached["held_minor"]) != (facts.balances[account_id], 0):
            findings.append(f"the cache says {cached}, the ledger {facts.balances[account_id]}")
    client.close()
    return findings


def red_for_no_reason(stage: Stage) -> list[str]:
    """Spells without green that no outage explains."""
    explained = [(one.began - 1, one.ended + (one.green_s or 0) + 15) for one in stage.outages]
    return [
        f"{until - since:.1f} s, {why}"
        for since, until, why in stage.watch.red_spells(RED_FOR_NO_REASON_S)
        if not any(begun <= since <= ended for begun, ended in explained)
    ]


def prove(stage: Stage) -> None:
    """Cache and ledger agree, every chain holds; only named losses are open, and somebody can accept them."""
    report = stage.system.run("reconcile", "--full", "--json")
    found = json.loads(report.stdout)
    kinds = Counter(one["kind"] for one in found["breaks"])
    expected = 1 if stage.losses else 0
    if report.returncode != expected or set(kinds) - {"cache_lost"}:
        stage.find(f"reconcile --full: exit code {report.returncode}, {kinds}: {report.stdout[-3000:]}")
    say(f"reconcile --full: {found['checked']}, {dict(kinds)}, healed {len(found['healed'])}, {found['seconds']:.1f} s")
    verified = stage.system.run("verify", "--json")
    if verified.returncode != 0:
        stage.find(f"verify: exit code {verified.returncode}: {verified.stdout[-3000:]}")
    say(f"verify: {json.loads(verified.stdout)['checked']}")
    accepted = stage.system.run("reconcile", "--accept-losses", "a test replaced the cache", "--full")
    if accepted.returncode != 0:
        stage.find(f"after accepting the losses: {accepted.stdout[-3000:]}")
