"""The command ``ingest``: follow an upstream into a sink, and say how it went."""
