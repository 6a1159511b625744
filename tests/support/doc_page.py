"""A page of the documentation: its code blocks, its links, and the anchors that a link may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from places import ROOT

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.M | re.S
)
_LINK = re.compile(r"\]\((?P<page>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (?P<words>.+)$", re.M)


@dataclass(frozen=True)
class Block:
    """``why_not_run``: the reason on the page. Empty: the block runs."""

    page: Path
    line: int
    language: str
    text: str
    why_not_run: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.line}"


@dataclass(frozen=True)
class Link:
    """``target``: the file that the link leads to. ``anchor``: a place in it, or empty."""

    target: Path
    anchor: str


class Page:
    """A Markdown file. ``prose``: its text without the code blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.prose = _FENCE.sub("", self.text)

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(
                self.path,
                self.text.count("\n", 0, found.start()) + 1,
                found["language"],
                found["text"],
                found["why"] or "",
            )
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def links(self) -> list[Link]:
        """Links to files of the repository, and to places in this page."""
        found = [(match["page"], match["anchor"] or "") for match in _LINK.finditer(self.prose)]
        return [
            Link((self.path.parent / page).resolve() if page else self.path, anchor)
            for page, anchor in found
            if "://" not in page
        ]

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, and those that mkdocstrings makes."""
        headings = {
            re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", found["words"]).strip().lower())
            for found in _HEADING.finditer(self.prose)
        }
        return headings | set(re.findall(r"^::: (\S+)", self.text, re.M))


def all_pages() -> list[Page]:
    return [Page(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
