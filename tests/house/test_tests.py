"""Habits of the tests themselves: nothing is patched, everything can fail, nothing is skipped, warnings are errors."""

from __future__ import annotations

import ast
import tomllib

from tests.house.tree import called_name, calls_in, python_files, syntax_of, text_of

TIERS = ("unit", "property", "contract", "e2e", "fault", "fuzz", "house")
ASSERTING_CALLS = {"raises", "fail"}
EVERY_FILE = python_files("tests")
TESTS = tuple(name for name in EVERY_FILE if name.rpartition("/")[2].startswith("test_"))

NOT_OURS_TO_READ = {
    "tests/contract/test_request_info_oracle.py",
    "tests/contract/test_decide_oracle.py",
    "tests/contract/test_audit_events_oracle.py",
    "tests/e2e/test_cluster.py",
}
"""May skip what needs the audit log or the node of a cluster of our own, where KUBECONFIG names somebody else's."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _imported(name: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(syntax_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_nothing_is_mocked() -> None:
    mocking = ("unittest", "mock", "pytest_mock")
    assert [name for name in EVERY_FILE for module in _imported(name) if module.split(".")[0] in mocking] == []


def test_nothing_is_patched() -> None:
    # The environment and the folder are a process's own arguments; our modules are not to be bent.
    allowed = {"setenv", "delenv", "chdir", "syspath_prepend"}
    bent = [
        f"{name}:{call.lineno}"
        for name in EVERY_FILE
        for call in calls_in(name)
        if isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) in ("monkeypatch", "mocker")
        and call.func.attr not in allowed
    ]
    assert bent == []


def _functions(name: str) -> list[Function]:
    return [node for node in ast.walk(syntax_of(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _called(function: Function) -> set[str]:
    return {called_name(node) for node in ast.walk(function) if isinstance(node, ast.Call)}


def _asserts_itself(function: Function) -> bool:
    return bool(_called(function) & ASSERTING_CALLS) or any(_is_assertion(node) for node in ast.walk(function))


def _is_assertion(node: ast.AST) -> bool:
    """An assert, or the raising of an error that stands for one (`GateFailure`)."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return called_name(node.exc).endswith(("AssertionError", "Failure"))
    return isinstance(node, ast.Assert)


def _asserting(name: str, known: set[str]) -> set[str]:
    """Functions of a file that can fail by an assertion, directly or through one that can."""
    functions = _functions(name)
    asserting = known | {one.name for one in functions if _asserts_itself(one)}
    while more := {one.name for one in functions if _called(one) & asserting} - asserting:
        asserting |= more
    return asserting


def test_every_test_can_fail() -> None:
    shared: set[str] = set()
    for name in EVERY_FILE:
        if name not in TESTS:
            shared = _asserting(name, shared)
    idle = []
    for name in TESTS:
        can_fail = _asserting(name, shared)
        tests = [one for one in _functions(name) if one.name.startswith("test_")]
        idle += [f"{name}:{one.lineno} {one.name}" for one in tests if one.name not in can_fail]
    assert idle == []


def test_what_is_missing_fails_and_is_not_skipped() -> None:
    skipped = [
        f"{name}:{node.lineno}"
        for name in EVERY_FILE
        if name not in NOT_OURS_TO_READ
        for node in ast.walk(syntax_of(name))
        if isinstance(node, ast.Attribute) and node.attr in ("skip", "skipif", "importorskip")
    ]
    assert skipped == []


def test_a_test_lives_in_a_tier() -> None:
    assert [name for name in TESTS if name.split("/")[1] not in TIERS] == []


def test_warnings_are_errors() -> None:
    options = tomllib.loads(text_of("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"][0] == "error"
