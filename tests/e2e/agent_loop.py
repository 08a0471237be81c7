"""An agent at work, as a program of its own: it tries, is refused, asks for what the refusals name, works, completes.

It knows what any agent knows: its standing kubeconfig and the gate's address in the environment. Nothing of the gate's
code is imported. Its arguments are kubectl, a namespace, and the file that the task's kubeconfig is to be written to.
What it does is on its standard output, a line for each step; anything unexpected ends it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

with warnings.catch_warnings():
    # The client's own dependencies warn at import.
    warnings.simplefilter("ignore")
    from kubernetes import client, config, stream, watch
    from kubernetes.client.exceptions import ApiException

HINT = re.compile(r"narrowgate (tasks request --cluster .*)")
WATCH_SECONDS = 30
WHY = "roll back web"


def say(step: str) -> None:
    sys.stdout.write(f"{step}\n")
    sys.stdout.flush()


class Agent:
    """One agent and its two kubeconfigs: the standing one, and the task's once there is one."""

    def __init__(self, kubectl: str, namespace: str, kubeconfig: Path) -> None:
        self.kubectl, self.namespace, self.kubeconfig = kubectl, namespace, kubeconfig
        self.allowed: list[str] = []
        """The words of the rules that the refusals named."""
        self.cluster = ""

    def run(self, *arguments: str, kubeconfig: str) -> subprocess.CompletedProcess[str]:
        command = [self.kubectl, "--kubeconfig", kubeconfig, "-n", self.namespace, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=WATCH_SECONDS)

    def learn(self, refusal: str) -> None:
        """Take down what the command in a refusal asks for."""
        hint = HINT.search(refusal)
        if hint is None:
            raise SystemExit(f"no way to ask is named in: {refusal}")
        words = shlex.split(hint[1])
        self.cluster = words[words.index("--cluster") + 1]
        self.allowed += [words[index + 1] for index, word in enumerate(words) if word == "--allow"]

    def try_everything(self, standing: str) -> None:
        """What it is about to do, with the credential that it has anyway: by kubectl, and by the Python client."""
        where = f"namespaces/{self.namespace}"
        # kubectl reads what there is before it asks for anything, and whoever holds nothing is refused there already.
        for path in (f"/apis/apps/v1/{where}/deployments/web", f"/api/v1/{where}/pods/clock"):
            done = self.run("get", "--raw", path, kubeconfig=standing)
            if done.returncode == 0:
                raise SystemExit(f"GET {path} was not refused")
            self.learn(done.stderr)
        say("refused get")
        with config.new_client_from_config(standing) as connection:
            calls: dict[str, Callable[[], object]] = {
                "patch": lambda: self.patch(connection),
                "exec": lambda: self.exec(connection),
                "watch": lambda: self.watch(connection),
            }
            for verb, call in calls.items():
                try:
                    call()
                except ApiException as refused:
                    self.learn(_message(str(refused.body or refused.reason)))
                    say(f"refused {verb}")
                else:
                    raise SystemExit(f"{verb} was not refused")

    def ask(self) -> None:
        """Run the command that the refusals name, once for all of them, and wait until people have answered."""
        wanted = [word for one in dict.fromkeys(self.allowed) for word in ("--allow", one)]
        request = ["tasks", "request", "--cluster", self.cluster, "--reason", WHY, "--for", "10m", *wanted]
        say("asks")
        done = subprocess.run([_narrowgate(), *request, "--kubeconfig", str(self.kubeconfig)])
        if done.returncode != 0:
            raise SystemExit("the task was not granted")
        say("was granted")

    def work(self) -> None:
        """Get, patch, exec and watch, by kubectl and by the Python client."""
        mine = str(self.kubeconfig)
        for what in (("deployment", "web"), ("pod", "clock")):
            done = self.run("get", *what, "-o", "name", kubeconfig=mine)
            say(f"got {done.stdout.strip()}{done.stderr}")
        with config.new_client_from_config(mine) as connection:
            with ThreadPoolExecutor(1) as beside:
                watching = beside.submit(self.watch, connection)
                self.patch(connection)
                say(f"watched {watching.result()}")
            say(f"exec said {self.exec(connection).strip()}")
        done = self.run("exec", "clock", "--", "echo", "once more", kubeconfig=mine)
        say(f"exec said {done.stdout.strip()}{done.stderr}")

    def patch(self, connection: client.ApiClient) -> None:
        change = {"metadata": {"annotations": {"rolled": "back"}}}
        changed = client.AppsV1Api(connection).patch_namespaced_deployment("web", self.namespace, change)
        say(f"patched {changed.metadata.name}")

    def exec(self, connection: client.ApiClient) -> str:
        core = client.CoreV1Api(connection)
        said = stream.stream(
            core.connect_get_namespaced_pod_exec, "clock", self.namespace, command=["echo", "inside"], stdout=True
        )
        return str(said)

    def watch(self, connection: client.ApiClient) -> str:
        events = watch.Watch().stream(
            client.AppsV1Api(connection).list_namespaced_deployment,
            self.namespace,
            field_selector="metadata.name=web",
            timeout_seconds=WATCH_SECONDS,
        )
        for event in events:
            if event["object"].metadata.annotations.get("rolled") == "back":
                return "it roll back"
        return "nothing"

    def complete(self) -> None:
        done = subprocess.run([_narrowgate(), "tasks", "complete", "--kubeconfig", str(self.kubeconfig)])
        if done.returncode != 0:
            raise SystemExit("the task was not completed")
        say("completed")


def _message(answer: str) -> str:
    """The message of the Status in an answer, or in what the client says about a WebSocket that was not opened."""
    status, _ = json.JSONDecoder().raw_decode(answer[answer.index('{"kind":"Status"') :].replace('\\\\"', '\\"'))
    return str(status["message"])


def _narrowgate() -> str:
    return os.environ["NARROWGATE_COMMAND"]


def main() -> None:
    kubectl, namespace, standing, kubeconfig = sys.argv[1:]
    agent = Agent(kubectl, namespace, Path(kubeconfig))
    agent.try_everything(standing)
    agent.ask()
    agent.work()
    agent.complete()


if __name__ == "__main__":
    main()
