"""Type checkers see the expected types, which tests/typing holds, in the package as users install it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kevy_ring.ring
from absent import absent
from kevy_ring import _calls as calls
from places import TESTS

USES = TESTS / "typing"
PACKAGE = Path(kevy_ring.__file__).resolve().parent
# Long, because numpy's stubs are read without a cache and the machine may be busy.
LIMIT_S = 240
# No user holds one of these.
INTERNAL = {"LenderCalls"}


@pytest.fixture
def users_place(tmp_path: Path) -> Path:
    """A directory that holds only the uses, without the settings of the project."""
    return Path(shutil.copytree(USES, tmp_path / "uses"))


def checked(*command: str, where: Path) -> subprocess.CompletedProcess[str]:
    # PYTHONPATH may name the tree, perhaps relative to this directory. mypy reads MYPYPATH instead.
    named = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    here = str(PACKAGE.parent)
    tree = {"MYPYPATH": here, "PYTHONPATH": here} if here in map(os.path.abspath, named) else {}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=where,
        env=os.environ | tree,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.timeout(LIMIT_S + 10)
def test_mypy_strict_finds_the_expected_types_and_no_others(users_place: Path) -> None:
    command = ("mypy", "--strict", "--config-file=", f"--cache-dir={users_place.parent / 'cache'}", ".")
    done = checked(*command, where=users_place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no issues found in {len(list(USES.glob('*.py')))} source files" in done.stdout


@pytest.mark.timeout(LIMIT_S + 10)
def test_pyright_strict_finds_the_expected_types_and_no_others(users_place: Path) -> None:
    # basedpyright is pyright with more rules, which "strict" leaves off. pip alone can install it.
    checker = next((name for name in ("pyright", "basedpyright") if importlib.util.find_spec(name) is not None), None)
    if checker is None:
        absent("pyright is not installed: nox -s typing has it")
    settings = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (users_place / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = checked(checker, "--pythonpath", sys.executable, "--warnings", where=users_place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors, 0 warnings" in done.stdout, done.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert {"py.typed", "_core.pyi", "_calls.pyi"} <= {path.name for path in PACKAGE.iterdir()}


def stubbed() -> list[tuple[str, ast.FunctionDef]]:
    """Every method that the stub of the compiled classes declares."""
    tree = ast.parse((PACKAGE / "_calls.pyi").read_text(encoding="utf-8"))
    return [
        (node.name, method)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name not in INTERNAL
        for method in node.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and not method.decorator_list
    ]


@pytest.mark.parametrize(("owner", "method"), stubbed(), ids=lambda of: getattr(of, "name", of))
def test_a_method_of_the_core_takes_what_its_stub_says(owner: str, method: ast.FunctionDef) -> None:
    found = inspect.signature(getattr(getattr(calls, owner), method.name))
    said = method.args
    positional = [argument.arg for argument in said.posonlyargs]
    assert [name for name in found.parameters if name != "self"] == [
        name for name in [*positional, *(argument.arg for argument in said.args)] if name != "self"
    ]
    for name, parameter in found.parameters.items():
        assert (parameter.kind is parameter.POSITIONAL_ONLY) == (name in positional or name == "self"), name
    assert sum(parameter.default is not parameter.empty for parameter in found.parameters.values()) == len(
        said.defaults
    )


@pytest.mark.parametrize(("owner", "method"), stubbed(), ids=lambda of: getattr(of, "name", of))
def test_a_method_of_the_core_and_its_stub_have_the_same_docstring(owner: str, method: ast.FunctionDef) -> None:
    found = inspect.getdoc(getattr(getattr(calls, owner), method.name))
    assert (found or "").split() == (ast.get_docstring(method) or "").replace("`", "").split()


@pytest.mark.parametrize("owner", ["Grant", "ChunkGrant"])
def test_a_class_of_the_core_and_its_stub_have_the_same_docstring(owner: str) -> None:
    tree = ast.parse((PACKAGE / "_calls.pyi").read_text(encoding="utf-8"))
    said = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
    found = inspect.getdoc(getattr(calls, owner))
    assert (found or "").split() == (ast.get_docstring(said) or "").replace("`", "").split()


def test_the_stub_leaves_no_public_method_of_the_core_out() -> None:
    told = {(owner, method.name) for owner, method in stubbed()}
    for owner in {owner for owner, _ in told}:
        kind = getattr(calls, owner)
        methods = {name for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}
        assert methods <= {name for who, name in told if who == owner}, owner
