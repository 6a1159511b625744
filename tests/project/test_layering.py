"""The layers of the package: all imports point down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from places import SOURCE

# Our layers that each layer may import.
PICTURE = {
    "errors": {"events"},  # for type checking only
    "events": set(),
    "_core": set(),
    "_calls": {"_core", "events"},
    "ring": {"_core", "_calls", "errors", "events"},
    "inbox": {"_core", "_calls", "errors", "events", "ring"},
    "objects": {"errors", "events", "ring"},
    "group": {"_core", "errors", "events", "ring", "inbox"},
    "replica": {"_core", "_calls", "errors", "events", "ring", "inbox"},
    "shard": {"_core", "errors", "events", "ring", "inbox", "replica"},
    "metrics": {"errors", "events", "ring", "inbox", "replica", "shard"},
    "testing": {"errors", "events", "ring", "inbox", "replica"},
    "cli": {"errors", "events", "ring", "inbox", "replica", "shard", "metrics", "testing"},
}
# Within a layer: the other folders of that layer that each folder may import.
FOLDERS = {
    "ring/outside": {"ring"},
    "replica/snapshots": set(),
    "replica/protocols": {"replica"},
    "replica/runner": {"replica", "replica/protocols", "replica/snapshots"},
    "replica/fleet": {"replica", "replica/protocols", "replica/runner"},
    "cli/top": {"cli", "cli/rings"},
}
# An alias of a public name in its old place. kevy_ring.testing is above this layer.
ALIASES = {"replica/primary.py"}
# A protocol knows no socket, no ring and no clock.
PROTOCOLS = ["replica/protocol", "testing/downlink"]
PROTOCOLS += [f"replica/protocols/{name}" for name in ("resp", "conversation", "kevy", "kevy_states", "redis")]
PROTOCOLS += [f"replica/protocols/{name}" for name in ("redis_states", "rdb_transfer", "request")]
PROTOCOLS += [f"replica/snapshots/{name}" for name in ("kevysnap", "kevysnap_writer", "entry")]
NOT_FOR_A_PROTOCOL = {
    "socket",
    "select",
    "selectors",
    "time",
    "asyncio",
    "threading",
    "kevy_ring.ring",
    "kevy_ring.inbox",
}
# The only modules that may open a socket: the link, and the embedded upstream's own side.
SOCKETS = {"replica/runner/link", "replica/runner/connect", "replica/runner/tls"}
SOCKETS |= {"testing/primary_loop", "testing/primary", "testing/primary_process"}

# The main functions of child processes end their own process with an exit code.
PROCESS_MAINS = {"replica/fleet/child.py", "shard/shard_process.py"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that the file names in an import, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module or "")
            if node.module == "kevy_ring":
                found |= {f"kevy_ring.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    layer = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if layer in ("__init__", "__main__") or str(path.relative_to(SOURCE)) in ALIASES:
        return
    allowed = PICTURE[layer] | {layer}
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("kevy_ring.")}
    if layer in ("cli", "metrics"):
        ours.discard("__version__")
    assert ours <= allowed, f"{path.name} reaches up to {ours - allowed}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """Our modules that the file imports, at any depth and for type checking too.

    ``from package import module`` counts as the module. A name that a package re-exports counts as the package.
    """
    names = {module_name(each) for each in modules()}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & names
            if not inner <= names:
                found.add(node.module)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported = {module_name(path): imported_modules(path) for path in modules()}
    reached = {name: set(direct) for name, direct in imported.items()}
    for middle, beyond in reached.items():  # Warshall's closure
        for targets in reached.values():
            if middle in targets:
                targets.update(beyond)
    circles = {frozenset(other for other in reached[name] if name in reached[other]) for name in reached}
    assert not [sorted(circle) for circle in circles if circle]


def test_a_name_of_a_class_is_that_of_one_class() -> None:
    classes = [
        node.name
        for path in modules()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert {name for name in classes if classes.count(name) > 1} == set()


def folder(module: str) -> str:
    """The folder of one of our modules: ``ring/outside`` for ``kevy_ring.ring.outside.peek``."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    return str((path if path.is_dir() else path.parent).relative_to(SOURCE))


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_a_layer_import_only_what_the_picture_says(name: str) -> None:
    layer = name.split("/", maxsplit=1)[0]
    for path in (SOURCE / name).glob("*.py"):
        used = {folder(module) for module in imports(path) if module.startswith(f"kevy_ring.{layer}.")}
        assert used <= FOLDERS[name] | {name}, f"{path.name} reaches over to {used - FOLDERS[name] - {name}}"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_knows_no_socket_no_ring_and_no_clock(name: str) -> None:
    used = imports(SOURCE / f"{name}.py")
    assert not {
        module for module in used if any(module == no or module.startswith(f"{no}.") for no in NOT_FOR_A_PROTOCOL)
    }


@pytest.mark.parametrize("layer", ["replica", "testing"])
def test_only_the_link_and_the_embedded_upstream_open_sockets(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        if str(path.relative_to(SOURCE).with_suffix("")) not in SOCKETS:
            assert "socket" not in imports(path), path.name


@pytest.mark.parametrize("layer", ["ring", "inbox", "objects", "group", "replica", "shard", "metrics", "testing"])
def test_only_the_command_prints_and_exits(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        if str(path.relative_to(SOURCE)) in PROCESS_MAINS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "exit"), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("sys", "exit"), f"{path.name}:{node.lineno}"


def test_only_the_atomics_header_names_a_memory_order() -> None:
    for path in (SOURCE.parent.parent / "csrc").glob("[!tf]*/*.[ch]"):
        text = path.read_text(encoding="utf-8")
        assert "atomic_thread_fence" not in text, f"{path.name}: stand-alone fences are invisible to ThreadSanitizer"
        if path.name != "atomics.h":
            assert "memory_order" not in text, path.name


# A Python file has at most 300 lines, and a function at most 40, without its decorators and its docstring.
FILE_LINES, FUNCTION_LINES = 300, 40
LONGER_FILES = {
    "errors.py": "one table of the public errors: a reader looks for all of them in one place",
    "shard/sinks/sqlite/file.py": "is replaced with the store",
}
LONGER_FUNCTIONS = {
    "ring/stats.py read_stats": "one field of the header after the other",
    "shard/sinks/sqlite/sink.py __init__": "is replaced with the store",
}


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its decorators and its docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_no_python_file_is_too_long() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {name for name, lines in lengths.items() if lines > FILE_LINES} == LONGER_FILES.keys()


def test_no_python_function_is_too_long() -> None:
    longer = {
        f"{path.relative_to(SOURCE)} {node.name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and function_lines(node) > FUNCTION_LINES
    }
    assert longer == LONGER_FUNCTIONS.keys()
