"""Lets charts follow the site's own switch between light and dark, where ``<picture>`` follows the system alone."""

from __future__ import annotations

import re
from typing import Any

_PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\s*</picture>'
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page. The theme hides images by the end of their address."""
    return _PICTURE.sub(
        r'<img alt="\g<alt>" src="\g<light>#only-light"><img alt="\g<alt>" src="\g<dark>#only-dark">', markdown
    )
