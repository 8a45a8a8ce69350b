"""The Merkle trees as the ledger keeps them: the roots of complete subtrees, over the transactions' own hashes.

Nothing here touches a posting: the trees grow afterwards, over transactions that are committed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from app.domain.errors import HistoryIncomplete
from app.domain.merkle import HIGHEST_LEVEL, TILE_LEVELS, TILE_NODES, MerkleTree, fold, leaf_hash

Rows = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Runs one statement in a transaction of its own and returns its rows: over a kept connection, or from a pool."""

REMEMBERED_TILES = 8
"""A proof looks into the tiles above one leaf and above the tree's end, and into the same ones again and again."""

_LEAVES = """
SELECT hash FROM ledger_transaction
WHERE partition = %(partition)s AND chain_seq > %(first)s AND chain_seq <= %(last)s ORDER BY chain_seq
"""
_SUBTREES = """
SELECT hash FROM merkle_subtree
WHERE partition = %(partition)s AND level = %(level)s AND number >= %(first)s AND number < %(last)s ORDER BY number
"""
_GROWN = """
SELECT number + 1 FROM merkle_subtree
WHERE partition = %(partition)s AND level = %(level)s ORDER BY number DESC LIMIT 1
"""
_GROW = """
INSERT INTO merkle_subtree (partition, level, number, hash)
VALUES (%(partition)s, %(level)s, %(number)s, %(hash)s) ON CONFLICT DO NOTHING RETURNING number
"""
_KEPT = "SELECT partition, level, number, hash FROM merkle_subtree ORDER BY partition, level, number"


class LedgerMerkleTrees:
    """Reads the trees by their tiles, and lets them grow."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def tree(self, partition: int) -> MerkleTree:
        """The tree of a chain, for one proof or one head: what it has read it does not read again."""

        @lru_cache(maxsize=REMEMBERED_TILES)
        def tile(level: int, number: int) -> Sequence[bytes]:
            return self._tile(partition, level, number)

        return MerkleTree(tile)

    def grow(self, partition: int, size: int) -> Iterator[int]:
        """Keep each subtree that is complete with `size` transactions and not kept yet; yields after each its level.

        Each is written by a statement of its own, so a caller may pause between them, or stop.
        """
        for level in range(TILE_LEVELS, HIGHEST_LEVEL + 1, TILE_LEVELS):
            if not size >> level:
                return
            for number in range(self._grown(partition, level), size >> level):
                nodes = self._tile(partition, level // TILE_LEVELS - 1, number)
                if len(nodes) < TILE_NODES:
                    raise HistoryIncomplete(f"Chain {partition} lacks transactions below subtree {number} of {level}.")
                parameters = {"partition": partition, "level": level, "number": number, "hash": fold(nodes)}
                self._rows(_GROW, parameters)
                yield level

    def is_grown(self, partition: int, size: int) -> bool:
        """Whether every subtree that is complete with `size` transactions is kept."""
        levels = range(TILE_LEVELS, HIGHEST_LEVEL + 1, TILE_LEVELS)
        return all(self._grown(partition, level) >= size >> level for level in levels if size >> level)

    def wrong_subtrees(self) -> Iterator[tuple[int, int, int]]:
        """Partition, level and number of each kept subtree whose root is not that of what lies below it."""
        for partition, level, number, kept in self._rows(_KEPT, {}):
            nodes = self._tile(partition, level // TILE_LEVELS - 1, number)
            if len(nodes) < TILE_NODES or fold(nodes) != bytes(kept):
                yield partition, level, number

    def _grown(self, partition: int, level: int) -> int:
        rows = self._rows(_GROWN, {"partition": partition, "level": level})
        return int(rows[0][0]) if rows else 0

    def _tile(self, partition: int, level: int, number: int) -> list[bytes]:
        bounds = {"partition": partition, "first": number * TILE_NODES, "last": (number + 1) * TILE_NODES}
        if level == 0:
            return [leaf_hash(bytes(row[0])) for row in self._rows(_LEAVES, bounds)]
        return [bytes(row[0]) for row in self._rows(_SUBTREES, bounds | {"level": level * TILE_LEVELS})]
