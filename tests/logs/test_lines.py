"""One event is one line: JSON for machines, or text for people."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from app.command_line import PROJECT
from app.crash_reports import LostProcesses, last_lines
from app.logs import JSON, TEXT, formatter


def record(message: str = "it %s", *values: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("app.somewhere", logging.WARNING, __file__, 1, message, values, None)
    made.created, made.msecs, made.process = 1_763_656_270.123, 123.0, 4711
    vars(made).update(more)
    return made


def test_an_event_is_one_json_object() -> None:
    text = formatter("drain", JSON).format(record("it %s", "is\nso", request_id="r-1"))
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "2025-11-20T16:31:10.123Z",
        "level": "WARNING",
        "process": "drain",
        "pid": 4711,
        "logger": "app.somewhere",
        "message": "it is\nso",
        "request_id": "r-1",
    }


def test_an_event_without_a_request_names_none() -> None:
    assert "request_id" not in json.loads(formatter("drain", JSON).format(record("so")))


def test_text_is_for_people() -> None:
    made = formatter("api", TEXT)
    begins = "2025-11-20T16:31:10.123Z WARNING api[4711] app.somewhere"
    assert made.format(record("so")) == f"{begins}: so"
    assert made.format(record("so", request_id="r-1")) == f"{begins} [r-1]: so"


@pytest.mark.parametrize("statement", ["raise ValueError('the end')", "thread()"])
def test_what_ends_a_process_or_a_thread_is_an_event(statement: str) -> None:
    program = f"""
from threading import Thread
from app.logs import configure_logging

def broken():
    raise ValueError('the end')

def thread():
    started = Thread(target=broken, name="one")
    started.start()
    started.join()

configure_logging("drain", "json")
{statement}
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    [line] = done.stderr.splitlines()
    event = json.loads(line)
    assert (event["level"], event["process"]) == ("CRITICAL", "drain")
    assert event["exc_info"].endswith("ValueError: the end")


def test_last_lines_are_readable_and_those_of_one_process(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    lines = [
        {"time": "t1", "level": "INFO", "pid": 1, "message": "one"},
        {"time": "t2", "level": "ERROR", "pid": 2, "message": "two", "exc_info": "Traceback\n  x\nValueError: so"},
    ]
    log.write_text("".join(f"{json.dumps(one)}\n" for one in lines) + "not JSON\n")
    assert last_lines(log) == "    t1 INFO one\n    t2 ERROR two: ValueError: so\n    not JSON"
    assert last_lines(log, 2) == "    t2 ERROR two: ValueError: so"
    assert last_lines(log, 3, lines=1) == "    not JSON"


def test_a_lost_process_is_told_once(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("Unexpected exit from worker-1: process 1 ended with exit code 1\n")
    lost = LostProcesses(log)
    assert list(lost.new()) == [], "an earlier run's"
    with log.open("a") as file:
        file.write('{"level": "INFO", "pid": 7, "message": "before it"}\n')
        file.write('{"level": "ERROR", "pid": 1, "message": "Unexpected exit from worker-2: process 7 was killed"}\n')
    [told] = lost.new()
    assert told.startswith("Unexpected exit from worker-2: process 7 was killed; the last lines")
    assert told.endswith("    None INFO before it")
    assert list(lost.new()) == []
