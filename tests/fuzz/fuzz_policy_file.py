"""Broken policy files: nothing but PolicyErrors may come out, and what is read compiles, lints and decides.

    python tests/fuzz/fuzz_policy_file.py --seconds 60 [--seed 7]

Prints the seed, so that a failure can be had again, and how much was read and refused. Exit status 1 on a finding.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

# A target is run as a file: what it shares with others is found from the root of the tree.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.driver import fuzz

from narrowgate.core.decide import decide
from narrowgate.core.explain import explain
from narrowgate.core.identity import Identity, Kind, chain_of
from narrowgate.core.intent import Intent
from narrowgate.core.lint import lint
from narrowgate.core.policy_file import PolicyErrors, parse_policies
from narrowgate.core.request_info import RequestInfo
from narrowgate.core.rulebook import compile_policies

EXAMPLES = [path.read_text() for path in sorted((Path(__file__).parents[2] / "examples" / "policies").glob("*.yaml"))]

# fmt: off
ODD = (
    "", "~", "null", "[]", "{}", "[[]]", "{a: b}", "- -", "*", '"*"', "*a", "&a [*a]", "&a", "<<: *a", "!!str",
    "!!binary x", "!!python/object:os.system x", "!x y", "0", "-1", "1e9", "0x1F", "1:30", "on", "2026-01-01", ".inf",
    "'", '"', "|", ">", "|\n  a\n  b", "#", "---", "...", "\t", "\x00", "\ufeff", "\u2028", "\x85", "\ud800", "😀",
    "x" * 5000, "[" * 900, "{a: " * 90, "1h", "1h1h", "999999h", "none", "pods/exec", "Pods", "*/*", "a/b/c",
    "system:x", "..", "object", "request.name", "object ==", "has(object.a.b)", "object.all(x, x.all(y, y))",
    "1/0 == 1", "'a'.matches('(')", "timestamp('x') == timestamp('y')",
)
KEYS = (
    "id", "effect", "verbs", "apiGroups", "resources", "nonResourceURLs", "namespaces", "names", "when", "maxDuration",
    "approval", "from", "within", "group", "count", "fields", "spec", "subjects", "clusters", "rules", "masks", "kind",
    "name",
)
# fmt: on

WHO = chain_of(Identity(kind=Kind.AGENT, name="ci-reviewer", groups=("on-call",), proven_by="fuzz", credential="c"))
WHAT = (
    Intent(
        cluster="prod",
        namespaced=True,
        object={"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}},
        info=RequestInfo(
            is_resource_request=True, path="/", verb="create", api_group="apps", namespace="ci", resource="deployments"
        ),
    ),
    Intent(cluster="prod", info=RequestInfo(is_resource_request=False, path="/api", verb="get")),
)


def make(source: random.Random) -> str:
    """An example with a few of its lines, keys, values and characters changed."""
    lines = source.choice(EXAMPLES).split("\n")
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(lines))
        match source.randrange(7):
            case 0:
                del lines[at : at + source.randint(1, 3)]
            case 1:
                lines.insert(at, lines[source.randrange(len(lines))] if lines else "")
            case 2:
                key, colon, _ = lines[at].partition(":")
                lines[at] = f"{key}{colon} {source.choice(ODD)}"
            case 3:
                indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
                lines.insert(at, f"{indent}{source.choice(KEYS)}: {source.choice(ODD)}")
            case 4:
                place = source.randint(0, len(lines[at]))
                lines[at] = lines[at][:place] + source.choice(ODD) + lines[at][place:]
            case 5:
                lines[at] = source.choice((" ", "  ", "\t", "- ")) + lines[at]
            case _:
                lines[at] = lines[at].replace(
                    source.choice(("[", "]", "{", "}", ",", ":", '"', "-")), source.choice(ODD)
                )
        lines = lines or [""]
    return "\n".join(lines)


def check(text: str) -> str:
    """Read one file and use what comes of it; what became of it, for the count."""
    try:
        policies = parse_policies(text, "fuzz.yaml")
    except PolicyErrors as refused:
        if not refused.errors or not all(str(error).startswith("fuzz.yaml:") for error in refused.errors):
            raise AssertionError(f"a refusal without a place: {refused}") from None
        # YAML counts U+0085 and U+2028 as line breaks, as splitlines does.
        if any(not 1 <= error.line <= len(text.splitlines()) + 2 for error in refused.errors):
            raise AssertionError(f"a refusal outside the file: {refused}") from None
        return "refused"
    if parse_policies(text, "fuzz.yaml") != policies:
        raise AssertionError("read twice, it says two things")
    rulebook = compile_policies(policies, 1)
    for finding in lint(policies):
        str(finding)
    for what in WHAT:
        decision = decide(WHO, what, rulebook, (), (), 0.0)
        if type(decision).__name__.lower() != explain(WHO, what, rulebook, 0.0).answer.lower():
            raise AssertionError(f"explained as something else than {decision}")
    return "read"


if __name__ == "__main__":
    sys.exit(fuzz(__doc__, "files", make, lambda _, text: check(text)))
