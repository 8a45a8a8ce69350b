"""The command line: `python3 -m app` starts everything, `python3 -m app --help` lists the rest.

This file must parse on every Python, however old, so that it can say which one is needed.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.stderr.write(
        "Holdfast needs Python 3.11 or newer; this is %d.%d (%s).\n"  # noqa: UP031
        "Try for example: python3.12 -m app\n" % (sys.version_info[0], sys.version_info[1], sys.executable)
    )
    sys.exit(1)

from app.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
