"""The views of a run: on a terminal, as plain lines, and as JSON."""
