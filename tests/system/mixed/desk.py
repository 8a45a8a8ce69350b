"""One customer's connection, which asks until the answer is definite."""

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from tests.system.harness import Answer, Client

RETRY_S = (0.05, 1.0)
"""The first pause before an unknown outcome is asked for again, and the longest."""

GIVE_UP_S = 300.0
"""How long a customer insists on a definite answer."""

HTTP_TIMEOUT_S = 20.0

RETRYABLE = {"account_paused", "optimistic_lock_conflict", "linked_payment_failed", "concurrency_retry_exhausted"}
NOT_POSTED_TRIES = 10


@dataclass(slots=True)
class Desk:
    """A connection and what went over it; not for several threads."""

    port: int
    key: str
    stopped: Event
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """Answers that nobody should get, whatever happens to the servers."""
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.port, self.key, timeout_s=HTTP_TIMEOUT_S)

    def once(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer | None:
        """One attempt; None if no answer came."""
        self.counts["requests"] += 1
        try:
            answer = self.client.request(method, path, body, headers)
        except (OSError, http.client.HTTPException, ValueError):
            self.counts["no answer"] += 1
            return None
        self.judge(answer, method, path)
        return answer

    def judge(self, answer: Answer, method: str, path: str) -> None:
        """Count the answer, and note one that nobody should get."""
        self.counts[f"{answer.status} {answer.code or ''}".strip()] += 1
        if (answer.status >= 500 and answer.status != 503) or answer.status in (400, 401, 403, 405, 413, 415):
            self.faults.append(f"{time.strftime('%H:%M:%S')} {method} {path}: {answer.status} {answer.body}")

    def insist(
        self, method: str, path: str, body: Any, on_unknown: Callable[[], None], headers: dict[str, str] | None = None
    ) -> Answer | None:
        """Ask again and again until the answer is definite; None if that takes too long."""
        ends, pause_s, not_posted = time.monotonic() + GIVE_UP_S, RETRY_S[0], 0
        while time.monotonic() < ends:
            answer = self.once(method, path, body, headers)
            if answer is not None and is_definite(answer):
                return answer
            if answer is not None and answer.code == "payment_not_posted":
                not_posted += 1
                if not_posted >= NOT_POSTED_TRIES:
                    return answer
            if answer is None or answer.status >= 500:
                on_unknown()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S[1])
        self.faults.append(f"{time.strftime('%H:%M:%S')} no definite answer to {method} {path} in {GIVE_UP_S:.0f} s")
        return None

    def stream(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """One NDJSON request; the answer to each line, None where none came before the stream broke."""
        self.counts["requests"] += 1
        answers: list[dict[str, Any] | None] = [None] * len(bodies)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HTTP_TIMEOUT_S + 20)
        head = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-ndjson"}
        try:
            connection.request("POST", path, b"".join(json.dumps(one).encode() + b"\n" for one in bodies), head)
            response = connection.getresponse()
            if response.status != 200:
                self.judge(Answer(response.status, response.headers, json.loads(response.read())), "POST", path)
                return answers
            for line in response:
                answer = json.loads(line)
                answers[answer["line"] - 1] = answer
        except (OSError, http.client.HTTPException, ValueError):
            self.counts["no answer"] += 1
        finally:
            connection.close()
        return answers

    def pause(self, seconds: float) -> None:
        """Think; ends at once when it is time to go."""
        self.stopped.wait(seconds)


def is_definite(answer: Answer) -> bool:
    """Whether the answer says for good what became of the request."""
    if answer.status < 300:
        return True
    return (
        answer.status < 500
        and answer.status not in (408, 429)
        and answer.code not in RETRYABLE | {"payment_not_posted"}
    )
