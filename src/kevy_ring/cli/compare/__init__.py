"""Compares the contents of a sink with those of its upstream."""
