"""The commands beside `up`, on the running system."""

import json
import re

import pytest

from app.cache import keys
from app.domain.payment import DEFAULT_PARTITIONS, partition_of
from tests import hot_state
from tests.patience import PATIENCE_S, until
from tests.system.harness import BANK, Client, System, payment


def status_with(system: System, key: str, method: str, path: str) -> int:
    client = Client(system.port, key)
    try:
        return client.request(method, path, {} if method == "POST" else None).status
    finally:
        client.close()


def test_a_key_is_created_listed_without_its_secret_and_revoked(system: System) -> None:
    key = system.run("keys", "create", "the shop", check=0).stdout.strip()
    prefix, key_id, secret = key.split("_", 2)
    assert prefix == "hf"
    assert status_with(system, key, "GET", "/v1/accounts") == 200
    assert status_with(system, key, "POST", "/v1/payments") == 400, "let in, and told that the body is wrong"
    assert status_with(system, key, "POST", "/v1/accounts") == 403
    listed = system.run("keys", "list", check=0).stdout
    [line] = [line for line in listed.splitlines() if key_id in line]
    assert "active" in line
    assert "payments:write,read" in line
    assert line.endswith("the shop")
    assert secret not in listed
    assert system.run("keys", "revoke", key_id, check=0).stdout.strip() == f"Key {key_id} is revoked, now."
    until(lambda: status_with(system, key, "GET", "/v1/accounts") == 401)
    assert system.run("keys", "revoke", key_id, check=1).stdout.strip() == f"There is no active key '{key_id}'."
    assert re.search(rf"{key_id} .*revoked 20\d\d-", system.run("keys", "list", check=0).stdout)


def test_a_key_gets_the_scopes_that_are_asked_for(system: System) -> None:
    key = system.run("keys", "create", "auditor", "--scope", "read", check=0).stdout.strip()
    assert status_with(system, key, "GET", "/v1/reports/trial-balance") == 200
    assert status_with(system, key, "POST", "/v1/payments") == 403
    assert system.run("keys", "create", "x", "--scope", "everything").returncode == 2


def test_the_first_key_lies_in_a_file_for_its_owner_only(system: System) -> None:
    path = system.data_dir / "api-key"
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    assert system.key in system.output(), "shown on the first start"


def test_reconcile_and_verify_tell_what_they_looked_at(system: System, client: Client) -> None:
    client.account("looked-at")
    client.fund("looked-at", 100)
    assert client.balance("looked-at")["balance_minor"] == 100, "cached from here on"
    assert client.balance(BANK)["balance_minor"] >= 100
    report = json.loads(system.run("reconcile", "--full", "--json", check=0).stdout)
    assert (report["mode"], report["breaks"], report["open_breaks"]) == ("full", [], 0)
    assert report["checked"]["transactions"] >= 1
    assert report["checked"]["entries"] >= 2 * report["checked"]["transactions"], "journals may have more legs"
    assert report["checked"]["cached_accounts"] >= 2
    assert "No break is open." in system.run("reconcile", check=0).stdout
    verified = json.loads(system.run("verify", "--json", check=0).stdout)
    assert verified["breaks"] == []
    assert verified["checked"]["transactions"] >= report["checked"]["transactions"]
    heads = [json.loads(line) for line in (system.data_dir / "chain-heads.jsonl").read_text().splitlines()]
    assert heads
    assert {"partition", "chain_seq", "chain_hash", "merkle_root", "signature"} <= set(heads[-1])


@pytest.mark.parametrize(
    ("field", "kind"), [("balance", "cache_balance"), ("held", "held_not_sum"), ("floor", "cache_floor")]
)
def test_a_tampered_cache_is_a_break_until_it_is_repaired(
    system: System, client: Client, field: str, kind: str
) -> None:
    name = f"tampered-{field}"
    client.account(name)
    client.fund(name, 100)
    assert client.balance(name)["balance_minor"] == 100, "cached from here on"
    account_key = keys.account(partition_of(name, DEFAULT_PARTITIONS), name)
    with system.cache() as cache:
        hot_state.add(cache, account_key, **{field: 50})
        try:
            found = system.run("reconcile", "--full", "--json", check=1)
            report = json.loads(found.stdout)
            assert [(one["kind"], one["subject"]) for one in report["breaks"]] == [(kind, name)]
            assert report["open_breaks"] == 1
            assert system.run("reconcile", check=1).returncode == 1, "open until it is resolved"
        finally:
            hot_state.add(cache, account_key, **{field: -50})
    assert json.loads(system.run("reconcile", "--full", "--json", check=0).stdout)["open_breaks"] == 0


def test_a_repair_corrects_a_wrong_cache_and_needs_a_reason(system: System, client: Client) -> None:
    client.account("repaired")
    client.fund("repaired", 100)
    assert client.balance("repaired")["balance_minor"] == 100, "cached from here on"
    with system.cache() as cache:
        hot_state.add(cache, keys.account(partition_of("repaired", DEFAULT_PARTITIONS), "repaired"), balance=50)
    assert client.balance("repaired")["balance_minor"] == 150
    unexplained = system.run("reconcile", "--repair", " ", check=2)
    assert "needs a reason" in unexplained.stderr
    done = system.run("reconcile", "--repair", "drill 12", check=0)
    assert "REPAIRED repaired: cache_balance {'cache_balance_minor': 150, 'ledger_balance_minor': 100" in done.stdout
    assert "No break is open." in done.stdout
    assert client.balance("repaired")["balance_minor"] == 100
    [(actor, detail)] = system.sql("SELECT actor, detail FROM audit_event WHERE action = 'cache.repair'")
    assert (actor, detail["reason"]) == ("command line", "drill 12")
    again = json.loads(system.run("reconcile", "--repair", "drill 13", "--json", check=0).stdout)
    assert (again["repaired"], again["in_doubt"], again["proof"]["open_breaks"]) == ({}, [], 0)


def test_a_hold_without_an_intent_is_a_break(system: System, client: Client) -> None:
    client.account("strange-hold")
    client.fund("strange-hold", 100)
    assert client.balance("strange-hold")["balance_minor"] == 100, "cached from here on"
    account_key = keys.account(partition_of("strange-hold", DEFAULT_PARTITIONS), "strange-hold")
    with system.cache() as cache:
        cache.hset(account_key, "1-1", 30)
        hot_state.add(cache, account_key, held=30)
        try:
            report = json.loads(system.run("reconcile", "--full", "--json", check=1).stdout)
            assert [one["kind"] for one in report["breaks"]] == ["hold_without_intent"]
        finally:
            cache.hdel(account_key, "1-1")
            hot_state.add(cache, account_key, held=-30)
    system.run("reconcile", "--full", check=0)


def test_reconcile_is_exact_while_payments_go_on(system: System, client: Client) -> None:
    client.account("busy")
    client.fund("busy", 100_000)
    sent = 0
    while sent <= 10:
        processes = [system.begin("reconcile", "--full", "--json") for _ in range(2)]
        while any(process.poll() is None for process in processes) and sent < 20_000:
            assert client.pay(payment("busy", BANK, 1)).status == 201
            sent += 1
        for process in processes:
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, output


def test_an_option_that_does_not_exist_is_named(system: System) -> None:
    done = system.run("reconcile", "--nonsense", check=2)
    assert "--nonsense" in done.stderr
