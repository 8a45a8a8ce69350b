"""The examples of the OpenAPI document are what the running system answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.examples import RECORDING
from tests.system.example_story import masked, told
from tests.system.harness import System


@pytest.fixture
def new_system(tmp_path: Path) -> Iterator[System]:
    """A system of its own, because the story begins on an empty one."""
    system = System(tmp_path / "data")
    try:
        yield system.start()
    finally:
        system.stop()


def test_the_running_system_answers_what_the_examples_show(new_system: System) -> None:
    recorded = json.loads(RECORDING.read_text(encoding="utf-8"))
    answered = told(new_system)
    assert len(answered) == len(recorded)
    for one, other in zip(answered, recorded, strict=True):
        assert masked(one) == masked(other), "run `python3 -m tests.system.example_story`, and look at what changed"
