"""Pictures of trees: a box for each node, a line to what it hangs on, and nothing in them that runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import msgspec
import pytest

from narrowgate.core.task_tree import Node, NodeKind
from narrowgate.core.tree_picture import tree_svg

SVG = "{http://www.w3.org/2000/svg}"
LEAF = Node(
    kind=NodeKind.TASK,
    id="t2",
    name="bot/helper",
    state="active",
    is_alive=True,
    purpose="count pods",
    allow=("get pods -n ci",),
    ends_at="2026-01-01T00:00:00Z",
    ended_because="",
    did=None,
)
ROOT = msgspec.structs.replace(LEAF, id="t1", name="bot", children=(LEAF, msgspec.structs.replace(LEAF, id="t3")))


def test_each_node_is_a_box_and_hangs_on_another_by_a_line() -> None:
    drawn = ET.fromstring(tree_svg(ROOT))
    assert len(drawn.findall(f"{SVG}g")) == 3
    assert len(drawn.findall(f"{SVG}path")) == 2
    assert "bot/helper (task t2)" in [text.text for text in drawn.iter(f"{SVG}text")]


def test_a_pod_looks_unlike_a_task_and_what_is_over_unlike_what_is_alive() -> None:
    pod = tree_svg(msgspec.structs.replace(LEAF, kind=NodeKind.POD, name="ci/runner"))
    over = tree_svg(msgspec.structs.replace(LEAF, is_alive=False, state="revoked"))
    assert 'rx="0"' in pod
    assert 'rx="8"' in tree_svg(LEAF)
    assert "stroke-dasharray" in over
    assert "stroke-dasharray" not in tree_svg(LEAF)


@pytest.mark.parametrize(
    "evil", ["<script>alert(1)</script>", '"><a href="javascript:x">', "]]>&lt;", "a\x00b\x1b[2J", "\ud800"]
)
def test_nothing_that_somebody_wrote_becomes_part_of_the_picture(evil: str) -> None:
    written = tree_svg(msgspec.structs.replace(LEAF, purpose=evil, name=evil, ended_because=evil, allow=(evil,)))
    drawn = ET.fromstring(written)
    assert {element.tag.removeprefix(SVG) for element in drawn.iter()} <= {"svg", "title", "rect", "g", "text", "path"}
    assert not any("href" in name for element in drawn.iter() for name in element.attrib)
    assert "\x1b" not in written


def test_a_long_line_is_cut() -> None:
    drawn = ET.fromstring(tree_svg(msgspec.structs.replace(LEAF, purpose="x" * 500)))
    assert max(len(text.text or "") for text in drawn.iter(f"{SVG}text")) <= 62
