"""``python -m kevy_ring``: the kevy-ring command."""

from kevy_ring.cli import main

if __name__ == "__main__":
    main()
