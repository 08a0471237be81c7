"""Habits of the tests themselves: nothing is patched, everything can fail, warnings are errors."""

from __future__ import annotations

import ast
import tomllib

import pytest
from tests.house.tree import called_name, calls_in, python_files, syntax_of, text_of

TIERS = ("unit", "property", "contract", "e2e", "fault", "fuzz", "house")
ASSERTING_CALLS = ("raises", "fail")
TESTS = tuple(name for name in python_files("tests") if name.rpartition("/")[2].startswith("test_"))


@pytest.mark.parametrize("name", python_files("tests"))
def test_nothing_is_patched(name: str) -> None:
    imported = {
        module
        for node in ast.walk(syntax_of(name))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {module for module in imported if module.startswith(("unittest", "mock", "pytest_mock"))}
    # The environment and the folder are a process's own arguments; our modules are not to be bent.
    allowed = {"setenv", "delenv", "chdir", "syspath_prepend"}
    bent = [
        f"{name}:{call.lineno}"
        for call in calls_in(name)
        if isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) in ("monkeypatch", "mocker")
        and call.func.attr not in allowed
    ]
    assert bent == []


def _functions(name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(syntax_of(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _asserts_itself(function: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and called_name(node) in ASSERTING_CALLS)
        for node in ast.walk(function)
    )


def _asserting_functions(name: str) -> set[str]:
    """Functions of a file that can fail by an assertion, directly or through another one of them."""
    calls = {
        one.name: {called_name(call) for call in ast.walk(one) if isinstance(call, ast.Call)}
        for one in _functions(name)
    }
    asserting = {one.name for one in _functions(name) if _asserts_itself(one)}
    while more := {one for one, called in calls.items() if called & asserting} - asserting:
        asserting |= more
    return asserting


SHARED_CHECKS = {
    function for name in python_files("tests") if name not in TESTS for function in _asserting_functions(name)
}


@pytest.mark.parametrize("name", TESTS)
def test_every_test_can_fail(name: str) -> None:
    asserting = _asserting_functions(name) | SHARED_CHECKS
    idle = [
        f"{name}:{one.lineno} {one.name}"
        for one in _functions(name)
        if one.name.startswith("test_")
        and one.name not in asserting
        and not {called_name(call) for call in ast.walk(one) if isinstance(call, ast.Call)} & asserting
    ]
    assert idle == []


@pytest.mark.parametrize("name", python_files("tests"))
def test_nothing_is_skipped_by_itself(name: str) -> None:
    skipped = [
        f"{name}:{node.lineno}"
        for node in ast.walk(syntax_of(name))
        if isinstance(node, ast.Attribute) and node.attr in ("skip", "skipif", "importorskip")
    ]
    assert skipped == [], "what is missing is to be named and to fail"


@pytest.mark.parametrize("name", TESTS)
def test_a_test_lives_in_a_tier(name: str) -> None:
    assert name.split("/")[1] in TIERS


def test_warnings_are_errors() -> None:
    options = tomllib.loads(text_of("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    assert options["filterwarnings"][0] == "error"
