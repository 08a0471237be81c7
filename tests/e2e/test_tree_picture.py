"""The picture of a tree in a real browser: everything stands where it belongs, whoever named it, and nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest
from tests.drawn_tree import EXAMPLE, did, pod, stream, task
from tests.e2e.browser import browser

from narrowgate.core.task_tree import Node
from narrowgate.core.tree_picture import tree_svg

NAMES = (
    "<script>window.ran = 1</script>",
    '"/><image href="x" onerror="window.ran = 1"/>',
    "safe\u202egvs.exe",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "Z\u0336\u0337\u0338" * 60,
    "名" * 253,
    "x" * 253,
    "W" * 253,
)

OUTSIDE = """() => [...document.querySelectorAll('svg > svg')].flatMap(card => {
  const frame = card.querySelector('rect').getBoundingClientRect()
  return [...card.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect()
    return box.left < frame.left || box.right > frame.right
  }).map(text => text.textContent)
})"""

OVERLAPPING = """() => [...document.querySelectorAll('svg > svg')].flatMap(card => {
  const boxes = [...card.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()])
  return boxes.flatMap(([one, a], place) => boxes.slice(place + 1).filter(([, b]) =>
    a.left < b.right && b.left < a.right && Math.abs(a.top - b.top) < 3).map(([other]) => [one, other]))
})"""


def hostile() -> Node:
    """A tree in which everybody is called something that nobody should be."""
    pods = tuple(
        msgspec.structs.replace(
            pod(name, f"0b7d5f0e-6f0c-4a8e-9a51-2f6e1b1c7d{number:02}", "there", did(99_999, 12_345)),
            runs_on=name,
            streams=(stream(f"{number:04}", "exec", f"`{name}` in ci/{name}", 1, named=number == 3),),
        )
        for number, name in enumerate(NAMES)
    )
    return task("x" * 253, f"7xk2mfqd4hpw3zna: {NAMES[0] * 20}", did(1), ended="revoked: " + "y" * 300, below=pods)


BACKS = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tree", [EXAMPLE, hostile()], ids=["example", "hostile"])
def test_every_text_of_a_tree_stands_in_its_own_card_beside_the_others(
    tmp_path: Path, tree: Node, scheme: Literal["light", "dark"]
) -> None:
    path = tmp_path / "tree.svg"
    path.write_text(tree_svg(tree), encoding="utf-8")
    told: list[str] = []
    with browser(tmp_path / "home", []) as running:
        page = running.new_context(color_scheme=scheme).new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(path.as_uri())
        assert page.locator("svg > svg").count() == len(list(tree))
        assert page.evaluate(OUTSIDE) == []
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate("() => [window.ran, document.querySelectorAll('script, image, a').length]") == [None, 0]
        assert page.evaluate("() => getComputedStyle(document.querySelector('.back')).fill") == BACKS[scheme]
    assert told == []
