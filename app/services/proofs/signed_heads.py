"""Signing heads: of chains that have grown, each minute, and of all chains on demand; and proving that heads agree.

A head is signed only if its chain still begins with what the last signed head says. So a history that somebody rewrites
gets no further head, and those who keep heads miss them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from app.domain.breaks import Break, BreakKind
from app.domain.errors import HistoryIncomplete, HistoryRewritten, SigningKeyUnusable, TreeUnderConstruction
from app.domain.hash_chain import GENESIS_HASH
from app.domain.signed_heads import PublicKey, SignedHead, consistency_document
from app.domain.timestamps import rfc3339

if TYPE_CHECKING:
    from app.domain.merkle import MerkleTree
    from app.ledger.merkle_tree import LedgerMerkleTrees
    from app.ledger.signed_heads import ChainState, LedgerSignedHeads
    from app.signing import SigningKey, SigningKeyFile

Steps = Callable[[Iterator[int]], Iterator[int]]
"""A way through the steps in which a tree grows."""

NODES_A_REQUEST = 100
"""How far a tree grows while somebody waits for a packet: by a tenth of a second, 25,600 transactions."""


class HeadSigner:
    """Signs heads with the key of this ledger."""

    def __init__(self, ledger: LedgerSignedHeads, trees: LedgerMerkleTrees, key_file: SigningKeyFile) -> None:
        self._ledger = ledger
        self._trees = trees
        self._key_file = key_file

    # Keys

    def key(self) -> SigningKey:
        """The key that signs, made and introduced if the ledger has none yet; SigningKeyUnusable if it is no key of
        this ledger."""
        known = self._ledger.keys()
        key = self._key_file.key(may_make=not known)
        if not known:
            first = PublicKey(self._ledger.ledger_id(), key.key_id, key.public_key, self._ledger.now(), None)
            self._ledger.keep_key(first.signed(key.sign))
        elif key.key_id not in {one.key_id for one in known}:
            raise SigningKeyUnusable(
                f"{self._key_file.path} holds key {key.key_id}, which is none of this ledger's. Set "
                f"HOLDFAST_SIGNING_KEY_FILE to the file of key {known[-1].key_id}."
            )
        return key

    def introduce(self, new_key: SigningKey) -> PublicKey:
        """Introduce a new key, endorsed by the present one, and sign all heads with both: from here on either will do.

        The present key goes on signing until its file is replaced.
        """
        key = self.key()
        introduced = PublicKey(
            self._ledger.ledger_id(), new_key.key_id, new_key.public_key, self._ledger.now(), key.key_id
        ).signed(key.sign)
        self.sign_all()
        self._ledger.keep_key(introduced)
        self.sign_all(new_key)
        return introduced

    def introduce_unendorsed(self, new_key: SigningKey) -> PublicKey:
        """Introduce a key that none endorses, because the present one is lost; the ledger lets only its owner do so.

        Those who keep heads must be told of its id, and can tell by the heads that the history is the same.
        """
        introduced = PublicKey(
            self._ledger.ledger_id(), new_key.key_id, new_key.public_key, self._ledger.now(), None
        ).signed(new_key.sign)
        self._ledger.keep_key(introduced)
        self.sign_all(new_key)
        return introduced

    def public_keys(self) -> list[PublicKey]:
        """Every key of this ledger, oldest first."""
        return self._ledger.keys()

    def now(self) -> datetime:
        """The ledger's time, in whole milliseconds."""
        return self._ledger.now()

    # Heads

    def sign_grown(self, steps: Steps = iter) -> list[SignedHead]:
        """Sign the heads of the chains that have grown since they were last signed.

        `steps` goes through the steps in which a tree grows, and may pause between them or stop: a chain whose tree is
        not complete then gets no head this time.
        """
        key = self.key()
        grown = [one for one in self._ledger.chains() if one.last is None or one.chain_seq > one.last.chain_seq]
        return self._sign([chain for chain in grown if self._grow(chain, steps)], key)

    def sign_all(self, key: SigningKey | None = None, steps: Steps = iter) -> list[SignedHead]:
        """Sign the heads of all chains as they are now, also of those that have not grown or not begun.

        Raises TreeUnderConstruction if `steps` stops before a tree is complete.
        """
        key = key or self.key()
        chains = self._ledger.chains()
        for chain in chains:
            self._require_grown(chain, steps)
        return self._sign(chains, key)

    def latest(self) -> list[SignedHead]:
        """The last signed head of each chain that has one."""
        return [chain.last for chain in self._ledger.chains() if chain.last is not None]

    def covering(self, partition: int, chain_seq: int) -> SignedHead:
        """The last head of a chain that covers a transaction; a new one is signed if there is none yet."""
        key = self.key()
        chain = next(one for one in self._ledger.chains() if one.partition == partition)
        if chain.last is not None and chain.last.chain_seq >= chain_seq:
            return chain.last
        self._require_grown(chain, lambda steps: islice(steps, NODES_A_REQUEST))
        [head] = self._sign([chain], key)
        return head

    def _grow(self, chain: ChainState, steps: Steps) -> bool:
        """Let a chain's tree grow; returns whether it is complete."""
        for _ in steps(self._trees.grow(chain.partition, chain.chain_seq)):
            pass
        return self._trees.is_grown(chain.partition, chain.chain_seq)

    def _require_grown(self, chain: ChainState, steps: Steps) -> None:
        if not self._grow(chain, steps):
            raise TreeUnderConstruction(f"The tree of chain {chain.partition} is not complete yet.")

    def _sign(self, chains: Iterable[ChainState], key: SigningKey) -> list[SignedHead]:
        ledger_id = self._ledger.ledger_id()
        heads = []
        for chain in chains:
            tree = self._trees.tree(chain.partition)
            self._require_extension(chain, tree)
            root = tree.root(chain.chain_seq)
            head = SignedHead(
                ledger_id, chain.partition, chain.chain_seq, chain.chain_hash, root, chain.now, key.key_id
            ).signed(key.sign)
            self._ledger.keep(head)
            heads.append(head)
        return heads

    def _require_extension(self, chain: ChainState, tree: MerkleTree) -> None:
        """Refuse a chain that does not begin as its last signed head says."""
        if chain.last is not None and not self._has(chain, tree, chain.last):
            raise HistoryRewritten(
                f"Chain {chain.partition} is not what it was when its head {chain.last.chain_seq} was signed. No "
                "further head is signed. Run verify."
            )

    def _has(self, chain: ChainState, tree: MerkleTree, head: SignedHead) -> bool:
        """Whether a chain still has what a head says."""
        if head.chain_seq > chain.chain_seq:
            return False
        stored = self._ledger.hash_at(head.partition, head.chain_seq) if head.chain_seq else GENESIS_HASH
        try:
            return stored == head.chain_hash and tree.root(head.chain_seq) == head.merkle_root
        except HistoryIncomplete:
            return False

    # Proofs

    def breaks(self) -> Iterator[Break]:
        """The heads and the nodes of the trees on record that the chains do not bear out."""
        for head in self._strays():
            figures = {"signed_at": rfc3339(head.signed_at), "key_id": head.key_id}
            yield Break(BreakKind.SIGNED_HEAD, f"{head.partition}/{head.chain_seq}", figures)
        for partition, level, number in self._trees.wrong_subtrees():
            subject = f"{partition}/{(number + 1) << level}"
            yield Break(BreakKind.MERKLE_SUBTREE, subject, {"level": level, "number": number})

    def _strays(self) -> Iterator[SignedHead]:
        chains = {chain.partition: chain for chain in self._ledger.chains()}
        trees = {partition: self._trees.tree(partition) for partition in chains}
        for head in self._ledger.all():
            chain = chains.get(head.partition)
            if chain is None or not self._has(chain, trees[head.partition], head):
                yield head

    def consistency(self, partition: int, from_size: int, to_size: int) -> dict[str, Any]:
        """The proof that a chain's first `from_size` transactions are the beginning of its first `to_size`."""
        path = self._trees.tree(partition).consistency(from_size, to_size)
        return consistency_document(self._ledger.ledger_id(), partition, from_size, to_size, path)

    def inclusion(self, partition: int, chain_seq: int, size: int) -> list[bytes]:
        """The audit path of a transaction in the tree of the chain's first `size`."""
        return self._trees.tree(partition).inclusion(chain_seq - 1, size)

    def proofs(self, kept: Sequence[tuple[int, int]], now: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """Consistency proofs from the kept heads to the present ones, each given as partition and size.

        A kept head that is longer than the present one, or of a chain that is gone, gets none.
        """
        sizes: dict[int, int] = {}
        for partition, size in now:
            sizes[partition] = max(size, sizes.get(partition, 0))
        wanted = sorted({(partition, size) for partition, size in kept if size < sizes.get(partition, 0)})
        return [self.consistency(partition, size, sizes[partition]) for partition, size in wanted]
