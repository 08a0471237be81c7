"""The exported page in a real browser: it plays, shows what was refused, and what was recorded stays text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from tests.e2e.browser import browser, new_page
from tests.e2e.gate import Cluster, Gate
from tests.e2e.kubectl import Kubectl
from tests.e2e.terminal import Terminal
from tests.e2e.workloads import pod, yaml_of

READY_SECONDS = 90
RULES = [
    {"id": "exec", "effect": "allow", "verbs": ["create"], "apiGroups": [""], "resources": ["pods/exec"],
     "namespaces": ["*"]},
    {"id": "pods", "effect": "allow", "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]},
]  # fmt: skip
BREAKING = "</script><script>document.title='broken out'</script><img src=x onerror=document.title='broken out'>"


@pytest.fixture(scope="module")
def exported(
    cluster: Cluster,
    direct: Kubectl,
    new_namespace: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A session on a terminal, with a request that was refused beside it, as a page."""
    namespace = new_namespace("session-page")
    here = direct.within(namespace)
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image)))
    here.must("wait", "--for=condition=Ready", "pod/shell", f"--timeout={READY_SECONDS}s")
    folder = tmp_path_factory.mktemp("page-gate")
    gate = Gate(folder, [{"name": "dev", "kubeconfig": str(cluster.kubeconfig)}])
    agent = gate.agent("runner", RULES)
    gate.start()
    try:
        kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, folder).within(namespace)
        assert kubectl("get", "secrets").code == 1
        with Terminal(kubectl.command("exec", "-it", "shell", "--", "sh"), kubectl.environment()) as terminal:
            terminal.wait_for("#")
            terminal.type("printf '\\033[1;32mgre''en\\033[0m and plain\\n'\r")
            terminal.wait_for("green")
            terminal.type(f'echo "{BREAKING}"\r')
            terminal.wait_for("onerror")
            terminal.type("printf '\\033[5;10HHE''RE'; echo; exit 0\r")
            terminal.exit_code()
        page = folder / "session.html"

        def is_over() -> bool:
            return "LIVE" not in gate.command("sessions", "list").out

        gate.wait_until(is_over, "the session is over")
        session = gate.command("sessions", "list").out.splitlines()[1].split()[0]
        done = gate.command("sessions", "export", session, "--as", "html", "-o", str(page))
        assert done.code == 0, done.err
        yield page
    finally:
        gate.stop()


@pytest.fixture(scope="module")
def opened(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("home"), []) as running:
        page = new_page(running)
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{exported.as_uri()}#t=100000")
        assert said == []
        assert asked == [f"{exported.as_uri()}#t=100000"] or asked == [exported.as_uri()]
        yield page


def test_the_end_of_the_session_is_on_the_screen_as_it_was(opened: Page) -> None:
    screen = opened.locator("#screen").inner_text()
    assert "green and plain" in screen
    rows = opened.locator("#screen > div").all_inner_texts()
    assert rows[4][9:13] == "HERE"
    green = opened.locator("#screen span", has_text=re.compile("^green$")).first
    assert green.evaluate("one => getComputedStyle(one).color") == "rgb(152, 195, 121)"
    assert green.evaluate("one => getComputedStyle(one).fontWeight") == "700"


def test_what_was_recorded_stays_text(opened: Page) -> None:
    assert opened.title().startswith("exec in ")
    assert opened.locator("img").count() == 0
    assert opened.locator("script").count() == 2
    assert BREAKING in opened.locator("#lines").inner_text().replace("\n", "")


def test_what_happened_is_told_and_what_was_refused_is_red(opened: Page) -> None:
    assert "agent:runner ran `sh`" in opened.locator("#told").inner_text()
    assert "The recording is whole" in opened.locator("#told").inner_text()
    refused = opened.locator("#lines .refused")
    assert refused.count() >= 1
    assert "/secrets" in refused.first.inner_text()
    assert refused.first.evaluate("one => getComputedStyle(one).color") == "rgb(198, 40, 40)"


def test_it_goes_back_to_the_beginning_plays_and_is_found_in(opened: Page) -> None:
    opened.locator("#place").fill("0")
    assert "green" not in opened.locator("#screen").inner_text()
    opened.select_option("#speed", "16")
    opened.click("#play")
    opened.locator("#screen", has_text="green and plain").wait_for()
    opened.locator("#play", has_text=re.compile("^Play$")).wait_for()
    opened.fill("#search", "green")
    assert opened.locator("#lines .found").count() >= 1


def test_while_it_plays_time_goes_on_and_never_back(opened: Page) -> None:
    opened.locator("#place").fill("0")
    # A function and no text: the page's own policy lets nobody read scripts from texts, a browser's driver included.
    shown = opened.evaluate(
        """() => new Promise((done) => {
            const play = document.querySelector("#play"), shown = [];
            new MutationObserver(() => {
                shown.push(document.querySelector("#time").textContent.split(" / ")[0]);
                if (play.textContent === "Play") done(shown);
            }).observe(document.querySelector("#time"), { childList: true });
            document.querySelector("#speed").value = "16";
            play.click();
        })"""
    )
    places = [60 * float(minutes) + float(seconds) for minutes, seconds in (text.split(":") for text in shown)]
    assert not any(text.startswith("-") for text in shown)
    assert places == sorted(places)
    assert shown[-1] == opened.locator("#time").inner_text().split(" / ")[1]


def test_it_can_be_pictured(opened: Page, tmp_path: Path) -> None:
    opened.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
