"""What can be typed after `python3 -m app bench`."""

import argparse
from pathlib import Path

from app.argument_values import count, counts, existing_file, seconds


def bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help="default: all but growth; `list` names them")
    parser.add_argument(
        "--duration", type=seconds, default=2.0, metavar="S", help="seconds a round (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=count, default=3, metavar="N", help="rounds a contestant (default %(default)s)"
    )
    parser.add_argument(
        "--connections", type=counts, default=(1, 16, 64, 256), metavar="N,N", help="default 1,16,64,256"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--report", type=Path, metavar="DIRECTORY", help="write tables, plots and a page there")
    parser.add_argument(
        "--sustained", type=seconds, default=20.0, metavar="S", help="seconds of the batch scenario (20)"
    )
    parser.add_argument("--accounts", type=count, default=1_000, metavar="N", help="accounts in the small case (1000)")
    parser.add_argument(
        "--growth-accounts", type=count, default=1_000_000, metavar="N", help="accounts of growth (1000000)"
    )
    parser.add_argument(
        "--growth-entries", type=count, default=10_000_000, metavar="N", help="entries of growth (10000000)"
    )
    parser.add_argument("--tigerbeetle", type=existing_file, metavar="PATH", help="its program, to compare with it too")
