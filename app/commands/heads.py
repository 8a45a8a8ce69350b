"""`heads`: export signed heads, prove that kept ones belong to the present history, and replace the key that signs.

What `docs/evidence.md` tells an auditor to keep is a file of `heads export`.
"""

import argparse
import os
import sys
from pathlib import Path

from app.commands.connection import connected
from app.domain.timestamps import rfc3339
from app.heads_files import documents, read_sizes, write_lines
from app.ledger.engine import owner_engine, rows_of
from app.services.proofs.signed_heads import HeadSigner
from app.settings import Settings
from app.signing import make_key, read_key
from app.wiring.evidence import build_head_signer, head_signer


def run(arguments: argparse.Namespace) -> int:
    """Runs the action; exit code 2 where a file cannot be read or written."""
    with connected(arguments.data_dir) as settings:
        try:
            return _act(arguments, build_head_signer(settings), settings)
        except (OSError, ValueError, KeyError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 2


def _act(arguments: argparse.Namespace, signer: HeadSigner, settings: Settings) -> int:
    if arguments.action == "export":
        heads = signer.sign_all()
        write_lines(arguments.file, documents(signer.public_keys(), heads))
        print(f"{len(heads)} heads, signed {rfc3339(heads[0].signed_at)} with key {heads[0].key_id}: {arguments.file}")
        return 0
    if arguments.action == "prove":
        return _prove(signer, arguments)
    if arguments.action == "rotate":
        return _rotate(_as_owner(settings) if arguments.unendorsed else signer, settings.signing_key_file, arguments)
    for key in signer.public_keys():
        print(f"{key.key_id}  {rfc3339(key.introduced_at)}  endorsed by {key.endorsed_by or 'nobody: the first key'}")
    return 0


def _prove(signer: HeadSigner, arguments: argparse.Namespace) -> int:
    """Write the proofs that lead from the kept heads to the newer ones."""
    kept = [head for path in arguments.kept for head in read_sizes(path)]
    proofs = signer.proofs(kept, read_sizes(arguments.newer))
    if not proofs:
        print("Nothing needs a proof: no chain has grown between these heads.", file=sys.stderr)
    write_lines(arguments.file, proofs)
    print(f"{len(proofs)} proofs: {arguments.file}")
    return 0


def _as_owner(settings: Settings) -> HeadSigner:
    """What signs heads, with the rights of the ledger's owner."""
    return head_signer(settings, rows_of(owner_engine(settings.owner_database_url)))


def _rotate(signer: HeadSigner, path: Path, arguments: argparse.Namespace) -> int:
    """Introduce a new key; it takes the place of the present one, unless it gets a file of its own."""
    to: Path | None = arguments.to
    new = to or path.with_name(f"{path.name}.next")
    if not new.exists():
        make_key(new)
    introduce = signer.introduce_unendorsed if arguments.unendorsed else signer.introduce
    introduced = introduce(read_key(new))
    print(f"Key {introduced.key_id} is introduced, endorsed by {introduced.endorsed_by or 'nobody'}.")
    if to is None:
        os.replace(new, path)
        print(f"It is in {path}. Processes that run sign with the old key until they start again; both are valid.")
    else:
        print(f"Set HOLDFAST_SIGNING_KEY_FILE to {to}, and start all processes again; until then both keys are valid.")
    return 0
