"""Paths in the repository, for tests and the programs that they start."""

from __future__ import annotations

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
DATA = TESTS / "data"
ROOT = TESTS.parent
CSRC = ROOT / "csrc"
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "kevy_ring"
