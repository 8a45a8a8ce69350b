"""The raw keys of the cache, above all an account's hash: for tests that look into them or tamper with them."""

import re
from typing import Any

import redis

from app.cache import keys
from tests.builders import PARTITIONS

PARTS = ("version", "balance", "held", "floor", "changed_at")
"""The parts of the field `funds`, in the order of `lua/funds.lua`."""


def parts(client: redis.Redis, key: str) -> dict[str, str]:
    """The account's fields, its funds by their parts, without its holds."""
    fields: dict[str, Any] = client.hgetall(key)  # type: ignore[assignment]
    funds = fields.pop("funds", None)
    taken = {} if funds is None else dict(zip(PARTS, funds.split("|"), strict=True))
    return taken | {name: value for name, value in fields.items() if not _is_stream_id(name)}


def holds(client: redis.Redis, key: str) -> dict[str, str]:
    """The account's holds by stream id."""
    fields: dict[str, Any] = client.hgetall(key)  # type: ignore[assignment]
    return {name: value for name, value in fields.items() if _is_stream_id(name)}


def put(client: redis.Redis, key: str, **values: Any) -> None:
    """Tamper: set some parts or fields."""
    found = parts(client, key) | {name: str(value) for name, value in values.items()}
    funds = "|".join(found.pop(name) for name in PARTS)
    client.hset(key, mapping={"funds": funds} | found)


def add(client: redis.Redis, key: str, **differences: int) -> None:
    """Tamper: raise some parts or fields."""
    found = parts(client, key)
    put(client, key, **{name: int(found[name] or 0) + difference for name, difference in differences.items()})


def lose_funds(client: redis.Redis, key: str) -> None:
    """Tamper: leave nothing of the account but its holds."""
    fields: dict[str, Any] = client.hgetall(key)  # type: ignore[assignment]
    client.hdel(key, *(name for name in fields if not _is_stream_id(name)))


def forget_external_id(client: redis.Redis, external_id: str, partitions: int = PARTITIONS) -> None:
    """End the idempotency window of an external id."""
    for partition in range(partitions):
        client.delete(keys.record(partition, "default", external_id), keys.claim(partition, "default", external_id))


def _is_stream_id(name: str) -> bool:
    return re.fullmatch(r"\d+-\d+", name) is not None
