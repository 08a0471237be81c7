"""Pictures of trees: a card for each node, a line to what it hangs on, and nothing in them that runs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from tests.drawn_tree import EXAMPLE, stream

from narrowgate.core.task_tree import Node, NodeKind
from narrowgate.core.tree_picture import tree_svg

DRAWN = Path(__file__).parents[3] / "docs" / "task-tree.svg"
SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "title", "style", "rect", "g", "text", "tspan", "path", "circle"}
ATTRIBUTES = {"xmlns", "class", "x", "y", "width", "height", "rx", "cx", "cy", "r", "d", "viewBox", "role"}
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


def drawn(node: Node) -> ET.Element:
    return ET.fromstring(tree_svg(node))


def texts(node: Node) -> list[str]:
    return ["".join(text.itertext()) for text in drawn(node).iter(f"{SVG}text")]


def classes(node: Node) -> set[str]:
    return {word for element in drawn(node).iter() for word in element.get("class", "").split()}


def test_the_picture_in_the_documentation_is_drawn_of_the_example() -> None:
    assert DRAWN.read_text(encoding="utf-8") == tree_svg(EXAMPLE), "python -m tests.drawn_tree > docs/task-tree.svg"


def test_each_node_is_a_card_and_hangs_on_another_by_a_line() -> None:
    picture = drawn(ROOT)
    assert len(picture.findall(f"{SVG}svg")) == 3
    assert len(picture.findall(f"{SVG}path")) == 2
    assert "bot/helper" in texts(ROOT)
    assert "task t2  ·  until 2026-01-01T00:00:00Z" in texts(ROOT)


def test_no_card_touches_another_and_all_of_them_are_in_the_picture() -> None:
    picture = drawn(EXAMPLE)
    width, height = int(picture.get("width", "")), int(picture.get("height", ""))
    bottom = 0
    for card in picture.findall(f"{SVG}svg"):
        x, y, wide, high = (int(card.get(name, "")) for name in ("x", "y", "width", "height"))
        assert y > bottom
        assert x + wide < width
        bottom = y + high
    assert bottom < height


def test_a_pod_looks_unlike_a_task_and_what_is_over_unlike_what_is_alive() -> None:
    pod = msgspec.structs.replace(LEAF, kind=NodeKind.POD, name="ci/runner")
    over = msgspec.structs.replace(LEAF, is_alive=False, state="revoked", ended_because="enough")
    assert "pod" in classes(pod) - classes(LEAF)
    assert {"over", "gone"} <= classes(over) - classes(LEAF)
    assert {"count pods", "enough"} <= set(texts(over))
    assert not any("until" in text for text in texts(over))


def test_what_was_refused_what_runs_and_what_was_named_stand_out() -> None:
    assert {"refused", "alive", "ring", "this"} <= classes(EXAMPLE)
    assert "143 requests, 1 refused" in "\n".join(texts(EXAMPLE))
    named = msgspec.structs.replace(LEAF, is_named=True)
    assert ("active, this one" in texts(named), "named" in classes(named) - classes(LEAF)) == (True, True)


def test_streams_that_have_no_room_are_counted() -> None:
    many = tuple(stream(f"{number:04}", "exec", "`sh` in ci/web-0", 1) for number in range(5))
    told = texts(msgspec.structs.replace(LEAF, streams=many, more_streams=7))
    assert sum("in ci/web-0" in text for text in told) == 3
    assert "and 9 more" in told


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        '"><a href="javascript:x">',
        "]]>&lt;",
        "</style><script>",
        "a\x00b\x1b[2J",
        "\ud800",
        "\ufffe",
        "safe\u202egvs.exe\u2066",
        "\u05e9\u05dc\u05d5\u05dd",
        "Z\u0336\u0337\u0338" * 90,
        "名" * 253,
        "x" * 253,
    ],
)
def test_nothing_that_somebody_wrote_becomes_part_of_the_picture(evil: str) -> None:
    said = stream("1", evil, evil, 1)
    said = msgspec.structs.replace(said, id=evil, began_at=evil, ended_at=evil)
    node = msgspec.structs.replace(
        LEAF,
        id=evil,
        name=evil,
        state=evil,
        purpose=evil,
        ended_because=evil,
        ends_at=evil,
        allow=(evil,),
        runs_on=evil,
        streams=(said,),
    )
    written = tree_svg(msgspec.structs.replace(node, children=(node,)))
    picture = ET.fromstring(written)
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= ELEMENTS
    assert {name for element in picture.iter() for name in element.attrib} <= ATTRIBUTES
    assert not set(written) & {"\x1b", "\x00", "\u202e", "\u2066", "\ufffe"}


@pytest.mark.parametrize(("letter", "cells"), [("x", 1), ("名", 2)])
def test_a_long_line_is_cut_to_what_fits(letter: str, cells: int) -> None:
    (purpose,) = (text for text in texts(msgspec.structs.replace(LEAF, purpose=letter * 500)) if letter * 9 in text)
    assert 60 < len(purpose) * cells < 120
    assert purpose.endswith("…")


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    (name,) = (text for text in texts(msgspec.structs.replace(LEAF, name="begin" + "x" * 253 + "end")) if "xx" in text)
    assert (name[:6], name[-4:], "…" in name) == ("beginx", "xend", True)
