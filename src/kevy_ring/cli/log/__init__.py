"""The log of a run: its lines as text or JSON, on standard error."""
