"""The Merkle tree over a chain of ledger transactions, hashed as in RFC 6962, and its proofs.

The leaves are the hashes of the chain's transactions, in order. Nobody keeps the whole tree: as transparency logs do,
the ledger keeps only the roots of complete subtrees of 256, 65,536, … leaves, and reads the leaves from the
transactions themselves. A proof reads a few tiles: the up to 256 nodes below one kept root.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from app.domain.errors import HistoryIncomplete

TILE_LEVELS = 8
"""Levels of the tree in one tile. With eight, the ledger keeps one row for 256 transactions."""

TILE_NODES = 1 << TILE_LEVELS

HIGHEST_LEVEL = 48
"""The highest level that the ledger keeps roots of: of 2^48 leaves."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(transaction_hash: bytes) -> bytes:
    """The leaf of a transaction."""
    return sha256(b"\x00" + transaction_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return sha256(b"\x01" + left + right).digest()


def fold(nodes: Sequence[bytes]) -> bytes:
    """The root over neighbouring nodes of one level, all complete; the last one of an odd number is carried up."""
    while len(nodes) > 1:
        pairs = [node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=False)]
        nodes = [*pairs, nodes[-1]] if len(nodes) % 2 else pairs
    return nodes[0]


Tile = Callable[[int, int], Sequence[bytes]]
"""Reads a tile: its level, counted in tiles from the leaves, and its number. The last one of a level may be shorter."""


@dataclass(slots=True, frozen=True)
class MerkleTree:
    """The tree over the first leaves of a chain, read by its tiles; sizes and indexes count leaves from zero."""

    tile: Tile

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves; HistoryIncomplete where the ledger lacks some of them."""
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of a leaf in the tree of `size` leaves, from the leaf's sibling upwards."""
        path, start, end = [], 0, size
        while end - start > 1:
            middle = start + _largest_power_below(end - start)
            if index < middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        return path[::-1]

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """The proof that the tree of `old_size` leaves is the beginning of that of `new_size`; both as in RFC 6962."""
        if old_size in (0, new_size):
            return []
        path, start, end = [], 0, new_size
        while end != old_size:
            middle = start + _largest_power_below(end - start)
            if old_size <= middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(start, middle))
                start = middle
        if start:
            path.append(self._subtree(start, end))
        return path[::-1]

    def _subtree(self, start: int, end: int) -> bytes:
        """The root over leaves `start` to `end`, which must be a subtree of a tree that ends at `end` or later."""
        size = end - start
        if size & (size - 1) == 0:
            return self._complete(size.bit_length() - 1, start)
        middle = start + _largest_power_below(size)
        return node_hash(self._subtree(start, middle), self._subtree(middle, end))

    def _complete(self, level: int, start: int) -> bytes:
        """The root over the 2^level leaves from `start` on."""
        tile_level = level // TILE_LEVELS
        width = 1 << level % TILE_LEVELS
        first = start >> tile_level * TILE_LEVELS
        offset = first % TILE_NODES
        nodes = self.tile(tile_level, first // TILE_NODES)[offset : offset + width]
        if len(nodes) < width:
            raise HistoryIncomplete(f"The ledger lacks transactions between {start + 1} and {start + (1 << level)}.")
        return fold(nodes)


def _largest_power_below(size: int) -> int:
    """The largest power of two that is less than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
