"""The command line before anything is installed: help and refusals come at once and make nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.arguments import COMMANDS, parse
from app.command_line import PROJECT, version


def bare(*arguments: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    """The command line under an interpreter that has no packages at all."""
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); from app.command_line import main"
    code += "; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-S", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def refusal(tmp_path: Path, *arguments: str) -> str:
    """The one line with which the command line refuses; nothing else is printed, and no file is made."""
    done = bare(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    [line] = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_and_needs_no_packages(option: str, tmp_path: Path) -> None:
    done = bare(option, cwd=tmp_path)
    assert done.returncode == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_packages(name: str, tmp_path: Path) -> None:
    done = bare(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: python3 -m app {name}" in done.stdout
    assert "--data-dir" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_told_without_packages(option: str) -> None:
    assert bare(option).stdout == f"Holdfast {version()}\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["up", "--port", "99999"], "--port: must be a whole number from 1 to 65535, not '99999'."),
        (["--port", "http"], "--port: must be a whole number from 1 to 65535, not 'http'."),
        (["up", "--port", "0"], "--port: must be a whole number from 1 to 65535, not '0'."),
        (["up", "--workers", "x"], "--workers: must be a whole number of at least 1, not 'x'."),
        (["up", "--api-workers", "0"], "--api-workers: must be a whole number of at least 1, not '0'."),
        (["up", "--nonsense"], "unrecognized arguments: --nonsense."),
        (["up", "--data-dir", "/dev/null/x"], "--data-dir: cannot be /dev/null/x: /dev/null is not a directory."),
        (["up", "--data-dir", ""], "--data-dir: must name a directory."),
        (
            ["up", "--wheelhouse", "nowhere"],
            "--wheelhouse: must be a directory that can be read, and 'nowhere' is none.",
        ),
        (["keys", "create", ""], "name: must be 1 to 200 printable characters, not ''."),
        (["keys", "create", "a\nb"], "name: must be 1 to 200 printable characters, not 'a\\nb'."),
        (["keys", "create", "x", "--data-dir", "/dev/null"], "--data-dir: cannot be /dev/null: /dev/null is not"),
        (["keys", "create", "x", "--rate", "0"], "--rate: must be N or N:BURST, with N up to 10000 and BURST up to 1"),
        (
            ["keys", "create", "x", "--rate", "5:x"],
            "--rate: must be N or N:BURST, with N up to 10000 and BURST up to 1",
        ),
        (["keys", "create", "x", "--days", "0"], "--days: must be a whole number of at least 1, not '0'."),
        (["keys", "create", "x", "--entity", ""], "--entity: must be the id of an entity, not ''."),
        (
            ["keys", "rotate", "x", "--overlap-hours", "-1"],
            "--overlap-hours: must be a whole number from 0 to 720, not",
        ),
        (["keys"], "the following arguments are required: action."),
        (
            ["reconcile", "--repair", " "],
            "--repair: needs a reason, which is kept in the audit trail; nothing was done.",
        ),
        (["verify", "--heads", "nowhere"], "--heads: must be a file that can be read, and 'nowhere' is none."),
        (["verify", "--head", __file__], "--head: goes with --packet; --heads compares kept heads with the ledger."),
        (["verify", "--key", "ab"], "--proof and --key: go with --packet or --consistency."),
        (
            ["verify", "--packet", __file__, "--heads", __file__],
            "--packet, --consistency and --heads: are checked one at a time.",
        ),
        (["replay", "nowhere.csv"], "FILE.csv: must be a file that can be read, and 'nowhere.csv' is none."),
        (["bench", "--connections", "1,x"], "--connections: must be a whole number of at least 1, not 'x'."),
        (["bench", "--duration", "nan"], "--duration: must be a number of seconds above 0, not 'nan'."),
    ],
)
def test_an_argument_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, arguments: list[str], what: str) -> None:
    assert what in refusal(tmp_path, *arguments)


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    if not Path("/proc/sys").exists():
        pytest.skip("this operating system has no directory that even the superuser cannot write to")
    assert "/proc/sys cannot be written to" in refusal(tmp_path, "up", "--data-dir", "/proc/sys/x")


def test_what_test_does_not_know_goes_to_pytest() -> None:
    assert parse("test", ["-k", "money", "--data-dir", "x"]).further == ["-k", "money"]
