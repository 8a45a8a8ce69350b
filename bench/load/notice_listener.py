"""Listens for settled notices: stamps each with CLOCK_MONOTONIC, and prints them all when its input ends."""

import json
import sys
import threading
import time

import redis

from app.cache.keys import SETTLED_CHANNEL


def main() -> None:
    """Listens."""
    client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
    subscription = client.pubsub()
    subscription.subscribe(SETTLED_CHANNEL)
    subscription.get_message(timeout=5)
    received: list[tuple[float, str]] = []

    ended = threading.Event()

    def listen() -> None:
        while not ended.is_set():
            message = subscription.get_message(timeout=0.1)
            if message is not None and message["type"] == "message":
                received.append((time.monotonic(), message["data"]))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    print("listening", flush=True)
    sys.stdin.read()
    time.sleep(0.2)
    ended.set()
    listener.join()
    for moment, text in received:
        for notice in json.loads(text):
            done = ",".join(notice.get("done") or []) or "-"
            print(f"{moment:.6f} {notice['partition']} {notice.get('up_to') or '-'} {done}")


if __name__ == "__main__":
    main()
