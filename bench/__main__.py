"""``python -m bench``: see ``python -m bench --help``."""

import sys

from bench import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
