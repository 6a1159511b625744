"""The picture of the layers, held by parsing the imports: they point down, never up."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "kevy_ring"
# What each layer may import of ours.
PICTURE = {
    "errors": {"events"},  # for type checking only
    "events": set(),
    "_core": set(),
    "_calls": {"_core", "events"},
    "ring": {"_core", "_calls", "errors", "events"},
    "inbox": {"_core", "_calls", "errors", "events", "ring"},
    "replica": {"errors", "events", "ring", "inbox"},
    "shard": {"_core", "errors", "events", "ring", "inbox", "replica"},
    "metrics": {"errors", "events", "ring", "inbox", "replica", "shard"},
    "cli": {"errors", "events", "ring", "inbox", "replica", "shard", "metrics"},
}
# A protocol knows no socket, no ring and no clock.
PROTOCOLS = [
    "protocol",
    "resp",
    "conversation",
    "kevy",
    "redis",
    "rdb_body",
    "kevysnap",
    "entry",
    "request",
    "downlink",
]
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
SOCKETS = {"replica/link", "replica/primary_loop", "replica/primary", "replica/primary_process"}

# The main functions of child processes end their own process with an exit code.
PROCESS_MAINS = {"fleet_child", "shard_process"}


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
    if layer in ("__init__", "__main__"):
        return
    allowed = PICTURE[layer] | {layer}
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("kevy_ring.")}
    if layer in ("cli", "metrics"):
        ours.discard("__version__")
    assert ours <= allowed, f"{path.name} reaches up to {ours - allowed}"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_knows_no_socket_no_ring_and_no_clock(name: str) -> None:
    used = imports(SOURCE / "replica" / f"{name}.py")
    assert not {
        module for module in used if any(module == no or module.startswith(f"{no}.") for no in NOT_FOR_A_PROTOCOL)
    }


@pytest.mark.parametrize("path", sorted((SOURCE / "replica").glob("*.py")), ids=lambda path: path.stem)
def test_only_the_link_and_the_embedded_upstream_open_sockets(path: Path) -> None:
    if f"replica/{path.stem}" not in SOCKETS:
        assert "socket" not in imports(path)


@pytest.mark.parametrize("layer", ["ring", "inbox", "replica", "shard", "metrics"])
def test_only_the_command_prints_and_exits(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        if path.stem in PROCESS_MAINS:
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
