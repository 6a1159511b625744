"""Every public call of the reference says what its parameters are, what it returns and raises, and how it is used."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import kevy_ring
from doc_page import Page
from reference import Call, all_calls, docstring_examples, in_the_reference, is_value, named

#: Words by which a docstring says what it returns. Most begin with a noun: "The newest offset".
_RETURNS = re.compile(
    r"\b(?:[Rr]eturns?|True|False|None|[Aa]n? empty|[Ss]tart|yields?)\b"
    r"|^(?:An?|The|How|Whether|All|Each|As|Copies|What|Another|One|Event|For|This) "
)
_AS = re.compile(r"(?:[Aa]s|in|[Ss]ee) (?::\w+:`\.?(?P<role>[\w.]+)`|(?P<word>try_write|drain|send|argv|read)\b)")
_MADE_BY = re.compile(r"\bMade by\b")


CALLS = all_calls()


def inherited_doc(call: Call) -> str:
    """The docstring of the protocol of sinks for a method that implements it without one."""
    if call.doc or call.owner is None:
        return call.doc
    from kevy_ring.shard.sinks import sink

    for protocol in (sink.Sink, sink.BatchSink, sink.ResumableSink, sink.FilterStoringSink, sink.StagingSink):
        if doc := inspect.getdoc(getattr(protocol, call.name.rpartition(".")[2], None)):
            return doc
    return ""


def with_what_it_refers_to(call: Call) -> str:
    """The docstring, and those of the calls that it names in "as :meth:`wait`"."""
    doc = inherited_doc(call)
    others = {match["role"] or match["word"] for match in _AS.finditer(doc)}
    texts = [doc]
    for other in others:
        for each in CALLS:
            own = call.name.rpartition(".")[0]
            if each.name in (f"{own}.{other}", f"kevy_ring.{other}") or each.name.endswith(f".{other}"):
                texts.append(each.doc)
    return "\n".join(texts)


def parameters(found: Any) -> list[str]:
    try:
        signature = inspect.signature(found)
    except ValueError:  # a method of the core without a signature
        return []
    return [each for each in signature.parameters if each not in ("self", "cls", "args", "kwargs") and each[0] != "_"]


def takes_no_arguments_of_users(call: Call) -> bool:
    """A class that other calls make, and the protocols."""
    return bool(_MADE_BY.search(call.doc)) or getattr(call.found, "_is_protocol", False)


def without_docstring(calls: list[Call]) -> list[str]:
    return [call.name for call in calls if not inherited_doc(call)]


def parameters_not_named(calls: list[Call]) -> list[str]:
    missing = []
    for call in calls:
        text = with_what_it_refers_to(call)
        if inspect.isclass(call.found):
            if issubclass(call.found, enum.Enum) or takes_no_arguments_of_users(call):
                continue
            text = call.doc + (inspect.getdoc(call.found.__init__) or "")
        missing += [f"{call.name}: {each}" for each in parameters(call.found) if not re.search(rf"\b{each}\b", text)]
    return missing


def results_not_said(calls: list[Call]) -> list[str]:
    """The calls that return something and do not say what. The docstring of a property is what it says it is."""
    missing = []
    for call in calls:
        annotation = getattr(call.found, "__annotations__", {}).get("return")
        is_property = isinstance(getattr(call.owner, call.name.rpartition(".")[2], None), property)
        if inspect.isclass(call.found) or is_property or annotation is None or str(annotation) == "None":
            continue
        if not _RETURNS.search(with_what_it_refers_to(call)):
            missing.append(f"{call.name}: {inherited_doc(call)}")
    return missing


def test_every_call_names_its_parameters() -> None:
    assert len(CALLS) > 150
    assert not without_docstring(CALLS)
    assert not parameters_not_named(CALLS)


def test_every_call_says_what_it_returns() -> None:
    assert not results_not_said(CALLS)


def raised_by(found: Any) -> set[str]:
    """The exceptions that the body of a Python function raises by name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(found)))
    except (OSError, TypeError):  # of the core
        return set()
    raised = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            raised.add(node.exc.func.id)
    return {each for each in raised if each[0].isupper()}


def errors_not_named(calls: list[Call]) -> list[str]:
    missing = []
    for call in calls:
        if getattr(call.found, "_is_protocol", False):
            continue
        body = call.found.__init__ if inspect.isclass(call.found) else call.found
        texts = [with_what_it_refers_to(call), inspect.getdoc(call.owner) or "" if call.owner else ""]
        if inspect.isclass(call.found):
            texts.append(inspect.getdoc(body) or "")
        missing += [f"{call.name}: {each}" for each in raised_by(body) if each not in "\n".join(texts)]
    return missing


def test_every_call_names_what_its_body_raises() -> None:
    assert not errors_not_named(CALLS)


def test_the_checks_see_what_a_docstring_leaves_out() -> None:
    def careless(first: int, second: int) -> int:
        """Adds ``first`` to something."""
        if first < 0:
            raise ValueError(second)
        return first + second

    def silent() -> None: ...

    calls = [Call("careless", careless)]
    assert without_docstring([Call("silent", silent)]) == ["silent"]
    assert parameters_not_named(calls) == ["careless: second"]
    assert results_not_said(calls) == ["careless: Adds ``first`` to something."]
    assert errors_not_named(calls) == ["careless: ValueError"]


def test_the_docstrings_of_the_core_name_what_it_raises() -> None:
    """Their bodies are C, so each call that can fail says so."""
    from kevy_ring import _calls

    # These cannot fail, or fail with the errors of the call that made the object.
    silent = {"escaped", "end", "copies"}
    for kind in ("ProducerCalls", "SenderCalls", "ConsumerCalls", "ReceiverCalls", "Grant", "ChunkGrant"):
        for name, member in vars(getattr(_calls, kind)).items():
            if not name.startswith("_") and callable(member) and name not in silent:
                assert "Raises" in (member.__doc__ or "") or name == "abort", f"{kind}.{name}"


def test_there_is_an_example_of_each_class_and_function() -> None:
    """In its docstring, or in the blocks of its page, which test_docs runs."""
    shown: dict[Path, str] = {}
    missing = []
    for page, name in in_the_reference():
        if page not in shown:
            blocks = (each for each in Page(page).blocks if each.language == "python" and not each.why_not_run)
            shown[page] = "\n".join(each.text for each in blocks)
        if is_value(named(name)) or docstring_examples(inspect.getdoc(named(name)) or ""):
            continue
        if not re.search(rf"\b{name.rpartition('.')[2]}\b", shown[page]):
            missing.append(f"{page.name}: {name}")
    assert not missing


def test_every_name_of_the_package_has_a_docstring() -> None:
    for name in kevy_ring.__all__:
        if name != "ReplicaApply":
            assert inspect.getdoc(getattr(kevy_ring, name)), name
