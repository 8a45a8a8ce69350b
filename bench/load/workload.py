"""Who pays whom: reproducible draws, so that the auditor can recompute every payment from its number."""

import random
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

DRAWS = 20_000
"""Movements drawn in advance and then repeated: enough that the pattern does not show, little to keep."""

LARGEST_AMOUNT_MINOR = 100
SEED = 20_260_101
WORKER_STRIDE = 7_919
"""A prime: each load process starts elsewhere among the draws."""


@dataclass(frozen=True)
class Movement:
    """One payment's content: account numbers and an amount in minor units."""

    source: int
    destination: int
    amount_minor: int


@dataclass(frozen=True)
class Workload:
    """A named pattern over `accounts` wallets, numbered from 0."""

    name: str
    accounts: int
    movements: tuple[Movement, ...]

    def movement(self, worker: int, number: int) -> Movement:
        """The payment that a load process makes under this number."""
        return self.movements[(worker * WORKER_STRIDE + number) % len(self.movements)]

    def enough_for_all(self) -> int:
        """Enough payments that hardly any account has made none: thirty each, on average."""
        return min(len(self.movements), 30 * self.accounts)


def account_id(number: int) -> str:
    """The wallet with this number."""
    return f"wallet:{number:07d}"


def uniform(accounts: int) -> Workload:
    """Every account is as likely as any other."""
    return _drawn("uniform", accounts, lambda draw: draw.randrange(accounts), lambda draw: draw.randrange(accounts))


def zipf(accounts: int, exponent: float = 1.0) -> Workload:
    """The n-th account is drawn in proportion to 1/n: a few are busy, most are not."""
    totals = list(accumulate(1 / rank**exponent for rank in range(1, accounts + 1)))

    def pick(draw: random.Random) -> int:
        return min(bisect(totals, draw.random() * totals[-1]), accounts - 1)

    return _drawn("zipf", accounts, pick, pick)


def hot_source(accounts: int) -> Workload:
    """Account 0 pays everybody."""
    return _drawn("hot_source", accounts, lambda _: 0, lambda draw: draw.randrange(accounts))


def hot_merchant(accounts: int) -> Workload:
    """Everybody pays account 0."""
    return _drawn("hot_merchant", accounts, lambda draw: draw.randrange(accounts), lambda _: 0)


def _drawn(
    name: str, accounts: int, source: Callable[[random.Random], int], destination: Callable[[random.Random], int]
) -> Workload:
    draw = random.Random(SEED)
    movements = []
    while len(movements) < DRAWS:
        pair = source(draw), destination(draw)
        if pair[0] != pair[1]:
            movements.append(Movement(*pair, draw.randint(1, LARGEST_AMOUNT_MINOR)))
    return Workload(name, accounts, tuple(movements))
