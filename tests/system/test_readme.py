"""What README.md shows is what happens: its console blocks are run in order, in one shell, and compared."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

from app.command_line import COMMANDS, PROJECT
from tests.patience import COMMAND_S
from tests.system.harness import System, without_given_servers

README = PROJECT / "README.md"
MARK = "=== end of command {} ==="

# What differs from run to run, and only that.
MASKS = [
    (re.compile(r"pay_\d+_\d+_\d+"), "pay_*"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"key:[0-9a-f]{12}"), "key:*"),
    (re.compile(r"hf_[0-9a-f]{12}_[\w-]+"), "hf_*"),
    (re.compile(r"\brun \d+, "), "run *, "),
    (re.compile(r"\d+\.\d+ s\b"), "* s"),
]


@dataclass
class Step:
    """A command of a console block, and the output that the README shows."""

    command: str
    shown: str


def console_steps(text: str) -> list[Step]:
    """All commands in order; a line ending in a backslash goes on."""
    steps: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        goes_on = False
        for line in block.splitlines():
            if goes_on:
                steps[-1].command += "\n" + line
            elif line.startswith("$ "):
                steps.append(Step(line[2:], ""))
            else:
                steps[-1].shown += line + "\n"
                continue
            goes_on = line.endswith("\\")
    return steps


def masked(text: str) -> str:
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text.rstrip()


@pytest.fixture
def own_system(tmp_path: Path) -> Iterator[System]:
    """A fresh system, as the README's reader has it."""
    system = System(tmp_path / ".holdfast")
    try:
        yield system.start()
    finally:
        system.stop()


def run_in_one_shell(steps: list[Step], system: System) -> list[str]:
    """The output of each step, standard error included."""
    data_dir = system.data_dir.resolve()
    script = [f"python3() {{ '{sys.executable}' \"$@\"; }}"]
    for number, step in enumerate(steps):
        command = step.command.replace("127.0.0.1:8080", f"127.0.0.1:{system.port}")
        command = command.replace(".holdfast", str(data_dir))
        script += [command, f"echo '{MARK.format(number)}'"]
    done = subprocess.run(
        ["bash", "-c", "exec 2>&1\n" + "\n".join(script)],
        cwd=PROJECT,
        env=without_given_servers(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_S,
    )
    outputs, rest = [], done.stdout
    for number in range(len(steps)):
        output, mark, rest = rest.partition(MARK.format(number) + "\n")
        assert mark, f"the shell ended in {steps[number].command}:\n{output}"
        outputs.append(output)
    return outputs


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl, and it is not installed here")
def test_every_console_line_of_the_readme_does_what_it_shows(own_system: System) -> None:
    steps = console_steps(README.read_text())
    assert len(steps) >= 10
    assert [step.command for step in steps if step.command.startswith("call ")], "payments are shown"
    outputs = run_in_one_shell(steps, own_system)
    for step, output in zip_longest(steps, outputs):
        assert masked(output) == masked(step.shown), f"$ {step.command}"


def test_every_command_is_in_the_readme_and_every_one_there_exists() -> None:
    text = README.read_text()
    table = set(re.findall(r"^\| `(\w+)` \|", text.partition("## Commands")[2].partition("\n## ")[0], re.MULTILINE))
    assert table == set(COMMANDS)
    assert set(re.findall(r"python3 -m app (?!<)([a-z]+)", text)) <= set(COMMANDS)


def test_every_setting_is_in_the_readme_with_its_default() -> None:
    source = (PROJECT / "app" / "settings.py").read_text()
    wanted = set(re.findall(r'"((?:HOLDFAST_\w+)|DATABASE_URL|REDIS_URL|OTEL_\w+|PROMETHEUS_\w+)"', source))
    text = README.read_text()
    assert wanted
    assert wanted == set(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))


def test_every_file_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text())
    assert links
    assert not [link for link in links if not (PROJECT / link).exists()]
