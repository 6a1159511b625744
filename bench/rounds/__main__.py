"""``python -m bench.rounds KIND JSON TAG``: one round, printed as one line of JSON."""

import sys

from bench.processes import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
