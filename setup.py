"""The parts that pyproject.toml cannot state: the cffi module, the stable ABI's wheel tag, the README's PyPI links."""

from __future__ import annotations

import re
from pathlib import Path

# Code, which does not change, or a relative target of a link, an image, an HTML attribute or a link definition.
_CODE_OR_LINK = re.compile(
    r"(?P<code>^```.*?^```$|`[^`\n]+`)"
    r"|(?P<before>\]\(<?|\b(?:href|src|srcset)=[\"']|^\[[^\]\n]+\]:\s*<?)"
    r"(?P<target>(?!#|//|\w[\w+.-]*:)[^)\s>\"']+)",
    re.M | re.S,
)
_PICTURE = re.compile(r"\.(?:svg|png|gif|jpe?g|webp)$")


def long_description(tree: Path) -> str:
    """The README with every relative link changed into one to the repository at this version's tag.

    PyPI resolves relative links against its own page, where the targets do not exist.
    """
    project = (tree / "pyproject.toml").read_text(encoding="utf-8")
    version, repository = (re.search(rf'^{key} = "(.+)"$', project, re.M)[1] for key in ("version", "Repository"))
    pages = f"{repository}/blob/v{version}/"
    pictures = f"{repository.replace('//github.com/', '//raw.githubusercontent.com/')}/v{version}/"

    def absolute(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        place = match["target"].removeprefix("./").lstrip("/")
        return f"{match['before']}{pictures if _PICTURE.search(place) else pages}{place}"

    return _CODE_OR_LINK.sub(absolute, (tree / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":  # not when a test imports this file
    import sysconfig

    from setuptools import setup

    has_stable_abi = not sysconfig.get_config_var("Py_GIL_DISABLED")  # a free-threaded Python has no stable ABI

    setup(
        cffi_modules=["csrc/build_ffi.py:ffibuilder"],
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if has_stable_abi else {},
        long_description=long_description(Path(__file__).resolve().parent),
        long_description_content_type="text/markdown",
    )
