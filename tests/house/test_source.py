"""Habits of the source that no linter sees. Each test names every place that breaks its habit."""

from __future__ import annotations

import ast
import re

from tests.house.tree import ROOT, called_name, calls_in, python_files, syntax_of, text_of, tracked

SOURCE = python_files("src")

REFUSED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc", "tools"}

FEWEST_WORDS = 5
"""Of a docstring that says what belongs in a file; fewer are its name said again."""

COVERED_ELSEWHERE = {
    "cli/__main__.py": "tests/e2e/test_cli_up.py",
    "cli/api_server.py": "tests/e2e/test_cli_clusters.py",
    "cli/background.py": "tests/e2e/test_cli_up.py",
    "cli/cluster_check.py": "tests/e2e/test_cli_clusters.py",
    "cli/first_run.py": "tests/e2e/test_cli_up.py",
    "cli/policy_check.py": "tests/unit/cli/test_policy.py",
    "cli/policy_explain.py": "tests/unit/cli/test_policy.py",
    "cli/serve.py": "tests/e2e/test_cli_bad_input.py",
    "cli/up.py": "tests/e2e/test_cli_up.py",
    "core/judging.py": "tests/unit/core/test_decide.py",
    "core/known_resources.py": "tests/unit/core/test_policy_file.py",
    "core/malformed.py": "tests/unit/core/test_understand.py",
    "core/matching.py": "tests/unit/core/test_rulebook.py",
    "core/preview.py": "tests/unit/core/test_decide.py",
    "core/refusals.py": "tests/unit/core/test_decide.py",
    "core/rule_file.py": "tests/unit/core/test_policy_file.py",
    "core/yaml_reader.py": "tests/unit/core/test_policy_file.py",
    "store/changes.py": "tests/contract/test_store.py",
    "store/notification_cursors.py": "tests/contract/test_store_notifications.py",
    "store/once.py": "tests/contract/test_store_sign_ins.py",
    "store/roles.py": "tests/contract/test_store_sign_ins.py",
    "store/sqlite_file.py": "tests/unit/store/test_sqlite.py",
    "wire/bodies.py": "tests/e2e/test_wire_framing.py",
    "wire/protobuf_object.py": "tests/contract/test_protobuf_oracle.py",
}
"""Modules without a unit test of their own name, and the test that covers them. The list had better shrink."""

SHELLS = ("proxy/", "main/", "control/")
"""Layers that are input and output throughout: tests/e2e and tests/fault run them for real."""


def test_no_file_is_named_for_what_it_is_not() -> None:
    stems = {
        name: name.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
        for name in python_files("src", "dev", "bench", "tests")
    }
    assert [name for name, stem in stems.items() if stem in REFUSED_NAMES] == []


def test_a_module_begins_by_saying_what_belongs_in_it() -> None:
    silent = [name for name in SOURCE if len((ast.get_docstring(syntax_of(name)) or "").split()) < FEWEST_WORDS]
    assert silent == []


def test_only_decide_makes_an_allow() -> None:
    makers = {name for name in SOURCE for call in calls_in(name) if called_name(call) == "Allow"}
    assert makers == {"src/narrowgate/core/decide.py"}


def test_no_task_is_without_a_parent() -> None:
    orphans = [
        f"{name}:{call.lineno}"
        for name in SOURCE
        for call in calls_in(name)
        if called_name(call) in ("create_task", "ensure_future") and not _has_a_group(call)
    ]
    assert orphans == []


def _has_a_group(call: ast.Call) -> bool:
    """Whether it is the create_task of a task group: the loop's and asyncio's own give a task no parent."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr == "ensure_future":
        return False
    owner = ast.unparse(call.func.value)
    return owner != "asyncio" and not owner.endswith(("loop", "loop()"))


def test_no_state_hides_in_a_module() -> None:
    hidden = [
        f"{name}:{node.lineno}" for name in SOURCE for node in ast.walk(syntax_of(name)) if isinstance(node, ast.Global)
    ]
    assert hidden == []


def test_what_the_credential_plugin_imports_on_its_way_imports_nothing() -> None:
    for name in ("src/narrowgate/__init__.py", "src/narrowgate/cli/__init__.py"):
        imported = [ast.unparse(node) for node in syntax_of(name).body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert set(imported) <= {"from __future__ import annotations"}, name


def _mirrors(module: str) -> list[str]:
    """The unit tests that carry a module's name: `test_x.py`, `test_x_something.py`; for a table of a store, the suite
    that every implementation of its port runs (`tests/contract/test_store_x.py`).
    """
    folder, _, file = module.rpartition("/")
    place = f"tests/unit/{folder}/" if folder else "tests/unit/"
    found = [name for name in tracked() if re.fullmatch(rf"{re.escape(place)}test_{file[:-3]}(_\w+)?\.py", name)]
    suite = f"tests/contract/test_store_{file}"
    return [*found, suite] if folder == "store" and suite in tracked() else found


def _mirrored_modules() -> list[str]:
    modules = [name.removeprefix("src/narrowgate/") for name in SOURCE if not name.endswith("/__init__.py")]
    return [module for module in modules if not module.startswith(SHELLS)]


def test_a_module_has_a_unit_test_or_the_list_says_who_covers_it() -> None:
    bare = [
        module
        for module in _mirrored_modules()
        if module not in COVERED_ELSEWHERE and not _mirrors(module) and not _is_only_values(module)
    ]
    assert bare == []


def test_the_list_of_what_is_covered_elsewhere_is_true() -> None:
    assert [module for module in COVERED_ELSEWHERE if module not in _mirrored_modules()] == []
    assert [module for module, test in COVERED_ELSEWHERE.items() if test not in tracked()] == []


def _is_only_values(module: str) -> bool:
    """A file of types and constants: there is nothing in it that could be wrong by itself."""
    found = [node for node in ast.walk(syntax_of(f"src/narrowgate/{module}")) if isinstance(node, ast.FunctionDef)]
    return all(_is_declaration(node) for node in found)


def _is_declaration(function: ast.FunctionDef) -> bool:
    """One statement besides the docstring: a protocol's method, a property, a constructor of one value."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return len(body) <= 1


def test_nothing_of_one_machine_is_in_the_tree() -> None:
    forbidden = re.compile(r"/" + r"work/(main|shared)|/tmp/" + r"brief|/opt/" + r"wheels|/ro" + r"ot/")
    assert [name for name in tracked() if _is_text(name) and forbidden.search(text_of(name))] == []


def _is_text(name: str) -> bool:
    content = (ROOT / name).read_bytes()
    return len(content) < 1 << 20 and b"\0" not in content[:1024]


def test_lock_files_name_no_address() -> None:
    for name in ("requirements/runtime.txt", "requirements/dev.txt"):
        addresses = [line for line in text_of(name).splitlines() if "://" in line or line.startswith("-")]
        assert addresses == [], name
        assert "--hash=sha256:" in text_of(name)


def test_the_sample_policies_of_the_package_are_the_examples() -> None:
    packaged = text_of("src/narrowgate/cli/samples/deny-base.yaml")
    assert packaged == text_of("examples/policies/deny-base.yaml")
