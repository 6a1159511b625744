"""The command ``ingest``: follow upstreams into a sink, and report the outcome."""
