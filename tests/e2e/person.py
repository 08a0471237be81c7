"""A person at a terminal of their own: signs in by `narrowgate login` and a real browser, and works with kubectl.

Here belongs what the tests of people's command line share. The terminal's home is a folder of the test's; the browser
is `signing_in.SignInGate`'s.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from tests.e2e.browser import go, sign_in_at_dex
from tests.e2e.command_line import Shell
from tests.e2e.dex import Person
from tests.e2e.gate import Cluster, Finished, GateFailure, environment, narrowgate
from tests.e2e.kubectl import Kubectl
from tests.e2e.signing_in import SignInGate

LOGIN_SECONDS = 180.0
LINES_BEFORE_THE_ADDRESS = 10


class PersonsTerminal:
    """One person's home folder on one machine."""

    def __init__(self, folder: Path, gate: SignInGate, who: Person) -> None:
        self.shell = Shell(folder)
        self.gate = gate
        self.who = who

    @property
    def state(self) -> Path:
        return self.shell.home / ".local" / "state" / "narrowgate"

    def __call__(self, *arguments: str | Path) -> Finished:
        return self.shell(*arguments)

    def login(self, *more: str, page: Page | None = None) -> dict[str, Any]:
        """Signs in with the browser on the same machine (`--device` in `more`: on another one), saying yes."""
        with StartedLogin(self, *more) as started:
            page = page or self.gate.page()
            started.open(page)
            started.say(page, "allow")
            return started.document()

    def kubeconfig(self, cluster: str = "dev") -> Path:
        """A kubeconfig as `narrowgate kubeconfig` prints it."""
        done = self.shell("kubeconfig", "--cluster", cluster)
        if done.code != 0:
            raise GateFailure(f"narrowgate kubeconfig: exit code {done.code}\n{done.text}")
        return self.shell.write(f"{cluster}.kubeconfig", done.out)

    def kubectl(self, cluster: Cluster, kubeconfig: Path | None = None) -> Kubectl:
        """Kubectl in this terminal; it finds the plugin where this environment has it."""
        variables = {"PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}"}
        return Kubectl(cluster.kubectl, kubeconfig or self.kubeconfig(), self.shell.home, variables=variables)


class StartedLogin:
    """A `narrowgate login` that waits for its browser."""

    def __init__(self, terminal: PersonsTerminal, *more: str) -> None:
        self._terminal = terminal
        by_device = "--device" in more
        arguments = ["login", terminal.gate.url, "--certificate-authority", str(terminal.gate.ca), "-o", "json", *more]
        self._process = subprocess.Popen(
            [narrowgate(), *arguments, *([] if by_device else ["--no-browser"])],
            cwd=terminal.shell.folder,
            env={**environment(), "HOME": str(terminal.shell.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self._shown_address()

    def __enter__(self) -> StartedLogin:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    def open(self, page: Page) -> Page:
        """The address that was shown, signing in at Dex where the browser has not yet."""
        go(page, self.address)
        if "/dex/" in page.url:
            sign_in_at_dex(page, self._terminal.who)
        page.wait_for_selector("button[name=decision]")
        return page

    def say(self, page: Page, decision: str) -> None:
        """Click the button `allow` or `deny`."""
        page.click(f"button[name=decision][value={decision}]")

    def interrupt(self) -> None:
        self._process.send_signal(2)

    def ended(self) -> Finished:
        """What it printed after the address, and its exit code."""
        out, err = self._process.communicate(timeout=LOGIN_SECONDS)
        return Finished(self._process.returncode, out, err)

    def document(self) -> dict[str, Any]:
        """The JSON of a login that went well."""
        done = self.ended()
        if done.code != 0:
            raise GateFailure(f"narrowgate login: exit code {done.code}\n{done.text}")
        document: dict[str, Any] = json.loads(done.out)
        return document

    def _shown_address(self) -> str:
        """The address that the terminal shows; of a device's two lines the one with the code in it."""
        stderr, lines = self._process.stderr, []
        if stderr is None:
            raise GateFailure("the terminal of a login was not read")
        for _ in range(LINES_BEFORE_THE_ADDRESS):
            lines.append(stderr.readline())
            words = lines[-1].split()
            if words and words[-1].startswith("https://") and "?" in words[-1]:
                return words[-1]
        self._process.kill()
        raise GateFailure(f"narrowgate login showed no address\n{''.join(lines)}")
