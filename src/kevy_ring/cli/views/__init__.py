"""How a run is shown: on a terminal, as plain lines, and as JSON."""
