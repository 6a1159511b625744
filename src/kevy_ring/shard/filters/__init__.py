"""Filters: which keys and commands a sink takes."""
