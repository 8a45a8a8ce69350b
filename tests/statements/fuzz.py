"""Fuzzing of one reader, guided by what its code reaches: `python -m tests.statements.fuzz READER [OPTIONS]`.

It needs atheris, which is installed by hand. Options are those of libFuzzer, such as `-max_total_time=300` or a file
that made it fail; a folder among them keeps what was found interesting. The readers are named in
`tests/statements/damaged.py`.
"""

import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory


def main(program: str, reader: str, *options: str) -> None:
    """Fuzz until something fails or the time is over; what is found is written to a file."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["app.statements", "app.domain"]):
        damaged = import_module("tests.statements.damaged")
    format, content, source_options = damaged.WHOLE[reader]
    with TemporaryDirectory() as folder:
        seed = Path(folder) / "seed"
        seed.write_bytes(content)
        given = [] if any(Path(one).is_file() for one in options) else [folder]
        atheris.Setup([program, *options, *given], lambda data: damaged.check(format, data, source_options))
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv)
