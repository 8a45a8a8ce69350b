"""`keys` on the command line: what a key may do, for whom, how long and how often; its successor; the list."""

import os
import re
import subprocess
import sys

from app.services.access.api_keys import Scope
from tests.api.world import World, assert_problem
from tests.patience import until


def run(world: World, *arguments: str, owner: bool = True) -> subprocess.CompletedProcess[str]:
    """One `keys` command over the world's servers; the last thing it prints is its answer."""
    settings = world.settings
    environment = {
        "DATABASE_URL": settings.database_url,
        "HOLDFAST_OWNER_DATABASE_URL": settings.owner_database_url if owner else settings.database_url,
        "REDIS_URL": settings.redis_url,
    }
    command = [sys.executable, "-m", "app", "keys", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def answer(world: World, *arguments: str) -> str:
    done = run(world, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def line_of(world: World, key: str) -> str:
    """What `keys list` says of a key."""
    [line] = [one for one in answer(world, "list").splitlines() if one.startswith(key.split("_")[1])]
    return line


def test_a_key_with_everything_that_can_be_said_of_one(world: World) -> None:
    options = ("--scope", "accounts:read", "--entity", "north", "--entity", "south", "--days", "30", "--rate", "50:100")
    key = answer(world, "create", "a shop", *options)
    line = line_of(world, key)
    for part in (
        "active",
        "accounts:read",
        "a shop",
        "only north,south",
        "until 20",
        "50/s, 100 at once",
        "never used",
    ):
        assert part in line, line
    response = world.get("/v1/accounts", key=key)
    assert (response.status_code, response.headers["RateLimit-Policy"]) == (200, '"requests";q=100;w=2')
    until(lambda: re.search(r"used 20\d\d-", line_of(world, key)) is not None)


def test_a_rate_alone_is_its_own_burst(world: World) -> None:
    assert "20/s, 20 at once" in line_of(world, answer(world, "create", "x", "--rate", "20"))


def test_rotating_prints_the_successor_and_says_how_long_the_key_stays(world: World) -> None:
    key = answer(world, "create", "a shop", "--scope", "read")
    key_id = key.split("_")[1]
    rotated = run(world, "rotate", key_id, "--overlap-hours", "2")
    successor = rotated.stdout.strip()
    assert (rotated.returncode, rotated.stderr) == (0, f"Key {key_id} stays valid for 2 hours.\n")
    for one in (key, successor):
        assert world.get("/v1/accounts", key=one).status_code == 200
    assert f"follows {key_id}" in line_of(world, successor)
    assert "until 20" in line_of(world, key)
    again = run(world, "rotate", key_id)
    assert (again.returncode, again.stdout) == (1, f"Key {key_id!r} has a successor; rotate that one.\n")
    ended = run(world, "rotate", successor.split("_")[1], "--overlap-hours", "0")
    assert (ended.returncode, ended.stderr) == (0, f"Key {successor.split('_')[1]} has ended.\n")
    assert "expired 20" in line_of(world, successor)
    unknown = run(world, "rotate", "nothing")
    assert (unknown.returncode, unknown.stdout) == (1, "There is no key 'nothing'.\n")
    world.assert_proven()


def test_without_the_owners_rights_the_command_says_what_it_lacks(world: World) -> None:
    key = world.key_with(Scope.READ)
    for arguments in (("create", "x"), ("revoke", key.split("_")[1]), ("rotate", key.split("_")[1])):
        done = run(world, *arguments, owner=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "HOLDFAST_OWNER_DATABASE_URL" in done.stderr, done.stderr
    assert world.get("/v1/accounts", key=key).status_code == 200
    assert_problem(world.get("/v1/accounts", key="hf_x_y"), 401, "unauthenticated")
