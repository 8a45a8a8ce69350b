"""A receiver of webhooks in a process of its own, which shares no interpreter with the test that waits for it.

It keeps a journal, a line for each message, which is written before the message is answered. How it answers, and with
which secrets it verifies, it is told on its standard input; when that is closed, it ends.
"""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from app.command_line import PROJECT
from tests.events.receiver import HANGS_UP, Receiver, accounts_of, receiving
from tests.patience import PATIENCE_S

HANGS_S = 3.0


def digest(event: dict[str, Any]) -> str:
    """What an event says, in short."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


# In the test


@dataclass(slots=True, frozen=True)
class Message:
    """What the journal has of a message; `status` is what was answered."""

    event_id: str
    accounts: list[str]
    digest: str
    status: int
    is_forged: bool

    @property
    def is_taken(self) -> bool:
        """Whether it was answered well."""
        return 200 <= self.status < 300


@dataclass(slots=True)
class ReceiverProcess:
    """A running receiver, and what its journal says so far."""

    process: "subprocess.Popen[str]"
    journal: IO[str]
    url: str
    arrived: list[Message] = field(default_factory=list)
    taken: dict[str, Message] = field(default_factory=dict)
    """Each event that it took, where it was taken first, in this order."""
    _begun: str = ""

    def answer(self, how: str) -> None:
        """Have it answer `well`, `badly` by chance, or that it is `gone`, from now on."""
        self._tell({"answer": how})

    def believe(self, secret: str) -> None:
        """Have it verify with another secret too."""
        self._tell({"secret": secret})

    def read(self) -> None:
        """Read what the journal has got since."""
        *lines, self._begun = (self._begun + self.journal.read()).split("\n")
        for line in lines:
            message = Message(*json.loads(line))
            self.arrived.append(message)
            if message.is_taken:
                self.taken.setdefault(message.event_id, message)

    def by_account(self) -> dict[str, list[str]]:
        """For each account the events about it that were taken, each where it was taken first."""
        found: dict[str, list[str]] = defaultdict(list)
        for message in self.taken.values():
            for account_id in message.accounts:
                found[account_id].append(message.event_id)
        return found

    def _tell(self, order: dict[str, str]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@contextmanager
def receiver_process(journal: Path, *, seed: int = 0) -> Iterator[ReceiverProcess]:
    """A receiver in a process of its own for as long as the test needs it."""
    command = [sys.executable, "-m", "tests.system.webhook_receiver", str(journal), str(seed)]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, "the receiver has not started"
        with journal.open() as reading:
            yield ReceiverProcess(process, reading, url)
    finally:
        process.stdin.close()
        process.wait(timeout=PATIENCE_S)
        process.stdout.close()


# In its process


class JournaledReceiver(Receiver):
    """Keeps what arrives in a file, and answers as it was told last."""

    def __init__(self, journal: IO[str], seed: int) -> None:
        super().__init__()
        self._journal = journal
        self._chance = random.Random(seed)
        self._answer = "well"
        self.answer = self._choose

    def obey(self, order: dict[str, str]) -> None:
        """Do as the test says."""
        self._answer = order.get("answer", self._answer)
        self.secrets += [order["secret"]] if "secret" in order else []

    def note(self, event: dict[str, Any], status: int, *, is_forged: bool) -> None:
        """Write the line of a message."""
        line = [event["id"], accounts_of(event), digest(event), status, is_forged]
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    def _choose(self, _: Receiver, __: dict[str, Any]) -> int:
        return {"well": 204, "gone": 410}.get(self._answer) or self._badly()

    def _badly(self) -> int:
        """Late, or not at all, or with a failure, one time in five."""
        drawn = self._chance.random()
        if drawn < 0.02:
            time.sleep(HANGS_S)
            return 200
        if drawn < 0.04:
            return HANGS_UP
        if drawn < 0.15:
            return 500
        return 503 if drawn < 0.2 else 204


def main(journal: str, seed: str) -> None:
    """Receive until the test has nothing more to say."""
    with Path(journal).open("a") as writing, receiving(receiver=JournaledReceiver(writing, int(seed))) as receiver:
        assert isinstance(receiver, JournaledReceiver)
        print(receiver.url, flush=True)
        for line in sys.stdin:
            receiver.obey(json.loads(line))
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
