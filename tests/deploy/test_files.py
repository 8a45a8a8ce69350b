"""What `deploy/` has: it parses, names what exists, and the programs that it is for accept it, where they are here."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.arguments import COMMANDS
from app.command_line import PROJECT
from app.settings import settings_from
from tests.papers.test_papers import metrics, variables
from tests.patience import COMMAND_S

DEPLOY = PROJECT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "holdfast.json"
UNITS = sorted((DEPLOY / "systemd").iterdir())
_SUFFIX = re.compile(r"_(?:bucket|count|sum|total)$")


def run(*command: str | Path, cwd: Path = PROJECT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=COMMAND_S)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def expressions(part: Any) -> Iterator[str]:
    """Every expression in rules or in a dashboard."""
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "expr")
        for value in part.values():
            yield from expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from expressions(value)


def named(part: Any) -> set[str]:
    found = {name for one in expressions(part) for name in re.findall(r"\bholdfast_[a-z_]+", one)}
    return {_SUFFIX.sub("", name) for name in found}


def test_rules_and_dashboard_name_metrics_that_exist_and_the_dashboard_all_of_them() -> None:
    assert named(yaml.safe_load(ALERTS.read_text())) <= metrics()
    assert named(json.loads(DASHBOARD.read_text())) == metrics()


def test_panels_do_not_overlap_and_each_says_what_it_shows() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_says_what_is_wrong_what_to_do_and_how_urgent_it_is() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 15
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule
        assert {"summary", "description"} <= rule["annotations"].keys()


needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here: apt install prometheus")


@needs_promtool
def test_prometheus_accepts_configuration_and_rules() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", ALERTS)
    assert "SUCCESS" in run("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(Path(__file__).parent / "alerts_test.yml", tmp_path)
    assert "SUCCESS" in run("promtool", "test", "rules", "alerts_test.yml", cwd=tmp_path)


# systemd


def directives(path: Path) -> list[tuple[str, str]]:
    pairs = [line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_what_is_in_the_project(path: Path) -> None:
    for command in (value for name, value in directives(path) if name == "ExecStart"):
        module = command.split()[2]
        assert (PROJECT / f"{module.replace('.', '/')}.py").exists() or module == "app"
        if module == "app":
            assert command.split()[3] in COMMANDS
    settings = {value.partition("=")[0] for name, value in directives(path) if name == "Environment"}
    assert settings <= set(variables().values())


def test_every_process_has_a_unit_and_the_target_wants_them_all() -> None:
    workers = {path.stem for path in (PROJECT / "workers").glob("*.py")} - {"__init__", "process", "granian_server"}
    units = {re.sub(r"holdfast-|@", "", path.stem) for path in UNITS if path.suffix == ".service"}
    assert units == workers | {"migrate"}
    [wanted] = [value for name, value in directives(DEPLOY / "systemd" / "holdfast.target") if name == "Wants"]
    assert {re.sub(r"holdfast-|@\d*|\.service", "", one) for one in wanted.split()} == workers


def test_the_api_is_started_as_up_starts_it() -> None:
    from argparse import Namespace

    from app.supervisor import api

    [told] = [value for name, value in directives(DEPLOY / "systemd" / "holdfast-api.service") if name == "ExecStart"]
    given = Namespace(host="127.0.0.1", port=8080, api_workers=2)
    own = list(api(given, Path()).command)
    assert sorted(told.split()[1:]) == sorted(own[1:])


def test_only_the_migration_knows_the_owner() -> None:
    for path in UNITS:
        knows = any("owner-environment" in value for _, value in directives(path))
        assert knows == (path.name == "holdfast-migrate.service")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for path in UNITS:
        text = path.read_text().replace("/srv/holdfast/.venv/bin/python", sys.executable)
        (tmp_path / path.name).write_text(text)
    said = run("systemd-analyze", "verify", "--man=no", *(tmp_path / one.name for one in UNITS if "@" not in one.name))
    assert "holdfast" not in said, said


# Containers


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def copied() -> list[str]:
    """What goes into the image from the project, of its last stage."""
    last = max(number for number, (name, _) in enumerate(instructions()) if name == "FROM")
    words = [value.split() for name, value in instructions()[last:] if name == "COPY" and "--from" not in value]
    return [one for value in words for one in value[:-1]]


def test_the_image_runs_as_nobody_and_is_made_of_what_is_pinned() -> None:
    made = dict(instructions())
    assert made["USER"] not in ("root", "0")
    assert all(":" in value.split()[0] for name, value in instructions() if name == "FROM")
    assert any("--require-hashes" in value for name, value in instructions() if name == "RUN")
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert set(copied()) == allowed


def test_what_is_copied_into_the_image_is_enough(tmp_path: Path) -> None:
    for name in copied():
        source = PROJECT / name
        ignored = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    program = """
import importlib, os, pathlib
os.environ |= {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"}
for path in sorted([*pathlib.Path("app").rglob("*.py"), *pathlib.Path("workers").glob("*.py")]):
    name = ".".join(path.with_suffix("").parts)
    if "migrations" not in name and not name.startswith("app.embedded") and name not in ("app.__main__",):
        importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=COMMAND_S
    )
    assert done.returncode == 0, done.stderr


def test_compose_has_servers_that_are_safe_for_money() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "valkey", "holdfast"}
    valkey = services["valkey"]["command"]
    told = dict(zip(valkey[1::2], valkey[2::2], strict=True))
    assert (told["--appendonly"], told["--appendfsync"], told["--maxmemory-policy"]) == ("yes", "always", "noeviction")
    settings = settings_from(services["holdfast"]["environment"])
    assert "@postgres:5432" in settings.database_url
    assert "@valkey:6379" in settings.redis_url
    assert set(services["holdfast"]["depends_on"]) == {"postgres", "valkey"}
    assert services["holdfast"]["ports"] == ["127.0.0.1:8080:8080"]
    assert (DEPLOY / services["holdfast"]["build"]["context"] / services["holdfast"]["build"]["dockerfile"]).exists()


def has_compose() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_compose(), reason="docker compose is not here")
def test_docker_accepts_the_compose_file() -> None:
    run("docker", "compose", "-f", DEPLOY / "compose.yaml", "config", "--quiet")
