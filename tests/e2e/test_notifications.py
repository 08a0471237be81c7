"""People hear of what waits for them, on a real cluster: a held request reaches their receivers, and what they do by
the message lets it pass.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import shlex
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from tests.e2e.api_caller import by_token
from tests.e2e.dex import ALICE, BOB
from tests.e2e.gate import Agent, Cluster
from tests.e2e.kubectl import CALL_SECONDS, Kubectl
from tests.e2e.person import PersonsTerminal
from tests.e2e.rules import allow
from tests.e2e.tasks import grantable
from tests.e2e.team import Team, approve, team_at
from tests.hearing import Answer, Heard, HTTPReceiver, MailServer

KEY = b"k" * 32
SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"


class Hearing(NamedTuple):
    """The team, its agent, and everybody who is told."""

    team: Team
    agent: Agent
    kubectl: Kubectl
    bob: PersonsTerminal
    hook: HTTPReceiver
    quiet: HTTPReceiver
    """Asked for pauses of agents alone."""
    slack: HTTPReceiver
    mail: MailServer

    def told(self, kind: str, name: str) -> list[Heard]:
        """What the webhook took of that type about that object."""
        of_type = [one for one in self.hook.told if one.document["type"] == kind]
        return [one for one in of_type if one.document["data"].get("name") == name]

    def one_told(self, kind: str, name: str) -> dict[str, Any]:
        self.team.gate.wait_until(lambda: bool(self.told(kind, name)), f"{kind} about {name} is told")
        return dict(self.told(kind, name)[0].document["data"])

    def press(self, action: str) -> int:
        """Alice presses the button under the last message in the channel; the status that Slack gets."""
        messages = [one.document for one in self.slack.told if one.path.endswith("/chat.postMessage")]
        (actions,) = [block for block in messages[-1]["blocks"] if block["type"] == "actions"]
        (button,) = [one for one in actions["elements"] if one["action_id"] == action]
        payload = {
            "type": "block_actions",
            "user": {"id": "UALICE"},
            "channel": {"id": "C0123456"},
            "actions": [{"action_id": action, "value": button["value"]}],
        }
        body = urlencode({"payload": json.dumps(payload)})
        stamp = str(int(time.time()))
        signature = hmac.new(SIGNING.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signature}",
        }
        context = ssl.create_default_context(cafile=str(self.team.running.ca))
        gate = http.client.HTTPSConnection("127.0.0.1", self.team.gate.control_port, context=context, timeout=90)
        try:
            gate.request("POST", "/integrations/slack", body, headers)
            return gate.getresponse().status
        finally:
            gate.close()


@pytest.fixture(scope="module")
def hearing(cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearing]:
    folder = tmp_path_factory.mktemp("notifications")
    secrets = folder / "gate"
    secrets.mkdir()
    (secrets / "hook.secret").write_text(f"whsec_{base64.b64encode(KEY).decode()}\n")
    (secrets / "slack.token").write_text("xoxb-test\n")
    (secrets / "slack.signing").write_text(SIGNING + "\n")
    with HTTPReceiver() as hook, HTTPReceiver() as quiet, HTTPReceiver() as slack, MailServer() as mail:
        receivers = {
            "webhooks": [
                {"name": "hook", "url": hook.url, "secretFile": "hook.secret", "events": ["*"]},
                {"name": "quiet", "url": quiet.url, "secretFile": "hook.secret", "events": ["agent.paused"]},
            ],
            "slack": [
                {
                    "name": "chat",
                    "channel": "C0123456",
                    "tokenFile": "slack.token",
                    "apiURL": slack.url.removesuffix("/hook"),
                    "signingSecretFile": "slack.signing",
                    "people": {"UALICE": ALICE.email},
                }
            ],
            "email": [
                {
                    "name": "mail",
                    "server": f"127.0.0.1:{mail.port}",
                    "security": "none",
                    "from": "gate@corp.example",
                    "groups": {"corp:developers": ["dev@corp.example"]},
                }
            ],
        }
        entry = {"name": "dev", "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
        with team_at(folder, [entry], settings={"notifications": receivers}) as team:
            rules = [
                allow("see", "get list", "pods configmaps", namespace),
                approve("change", "delete", "configmaps", namespace),
                grantable("look", "get list", "secrets", namespace),
            ]
            agent = team.agent("teller", rules, f"/api/v1/namespaces/{namespace}/pods")
            bob = PersonsTerminal(folder / "bob", team.running, BOB)
            bob.login()
            kubectl = Kubectl(cluster.kubectl, agent.kubeconfig, folder).within(namespace)
            yield Hearing(team, agent, kubectl, bob, hook, quiet, slack, mail)


@pytest.fixture
def configmap(direct: Kubectl, namespace: str, marker: str) -> str:
    name = f"told-{marker.lower()}"
    direct.within(namespace).must("create", "configmap", name)
    return name


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=CALL_SECONDS)
    return process.returncode, out.decode()


def test_a_held_request_is_told_with_the_command_that_lets_it_pass(hearing: Hearing, configmap: str) -> None:
    running = hearing.kubectl.start("delete", "configmap", configmap)
    asked = hearing.one_told("approval.asked", configmap)
    assert asked["verb"] == "delete"
    assert asked["chain"] == ["agent:teller"]
    (command,) = [one for one in asked["commands"] if " approve " in one]
    done = hearing.bob(*shlex.split(command)[1:])
    assert done.code == 0, done.text
    code, said = finished(running)
    assert code == 0, said
    assert hearing.one_told("approval.spent", configmap)["id"] == asked["id"]
    kinds = [one.document["type"] for one in hearing.hook.told if one.document["data"].get("id") == asked["id"]]
    assert kinds == ["approval.asked", "approval.approved", "approval.spent"]


def test_every_message_is_signed_and_comes_once(hearing: Hearing, configmap: str) -> None:
    running = hearing.kubectl.start("delete", "configmap", configmap)
    hearing.one_told("approval.asked", configmap)
    hearing.team.answer("bob", hearing.team.one_waiting("teller"), "deny")
    assert finished(running)[0] == 1
    hearing.one_told("approval.denied", configmap)
    for heard in hearing.hook.told:
        signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
        wanted = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
        assert heard.headers["webhook-signature"] == f"v1,{wanted}"
    ids = [heard.headers["webhook-id"] for heard in hearing.hook.told]
    assert len(set(ids)) == len(ids)


def test_a_button_in_slack_lets_it_pass(hearing: Hearing, configmap: str) -> None:
    running = hearing.kubectl.start("delete", "configmap", configmap)
    hearing.one_told("approval.asked", configmap)
    hearing.team.gate.wait_until(lambda: configmap in hearing.slack.told[-1].body.decode(), "Slack is told")
    assert hearing.press("narrowgate.approve") == 200
    code, said = finished(running)
    assert code == 0, said
    event = hearing.team.gate.wait_for_event("/integrations/slack")
    assert event["user"]["username"] == f"person:{ALICE.email}"
    assert event["verb"] == "approve"


def test_a_button_in_slack_denies(hearing: Hearing, configmap: str, direct: Kubectl, namespace: str) -> None:
    running = hearing.kubectl.start("delete", "configmap", configmap)
    hearing.one_told("approval.asked", configmap)
    hearing.team.gate.wait_until(lambda: configmap in hearing.slack.told[-1].body.decode(), "Slack is told")
    assert hearing.press("narrowgate.deny") == 200
    code, said = finished(running)
    assert code == 1
    assert "denied by a button in Slack" in said
    assert direct.within(namespace)("get", "configmap", configmap).code == 0


def test_the_group_that_is_asked_gets_mail(hearing: Hearing, configmap: str) -> None:
    running = hearing.kubectl.start("delete", "configmap", configmap)
    hearing.team.gate.wait_until(lambda: any(configmap in one.text for one in hearing.mail.mails), "mail has come")
    (mail, *_) = [one for one in hearing.mail.mails if configmap in one.text]
    assert mail.to == ("dev@corp.example",)
    assert "narrowgate approvals approve" in mail.text
    hearing.team.answer("bob", hearing.team.one_waiting("teller"), "deny")
    assert finished(running)[0] == 1


def test_a_task_is_told_from_its_beginning_to_its_end(hearing: Hearing, namespace: str) -> None:
    wish = {"purpose": "look around", "allow": [f"get secrets -n {namespace}"], "for": "5m"}
    call = by_token(hearing.team.gate, hearing.agent.token)
    made = call("POST", "/tasks", wish)
    assert made.status == 201, made.document
    task = made.document["id"]
    ended = call("POST", f"/tasks/{task}/complete")
    assert ended.status == 200, ended.document

    def kinds() -> list[str]:
        return [one.document["type"] for one in hearing.hook.told if one.document["data"].get("id") == task]

    hearing.team.gate.wait_until(lambda: len(kinds()) == 2, "both are told")
    assert kinds() == ["task.began", "task.completed"]
    assert made.document["credential"] not in "".join(one.body.decode() for one in hearing.hook.heard)


def test_an_emergency_is_heard_by_everybody_and_its_review_is_asked_for(hearing: Hearing, namespace: str) -> None:
    review = {"review": {"from": [{"group": "corp:developers", "count": 1}], "within": "1h"}}
    rule = grantable("glass", "get", "secrets", namespace, maxDuration="30m", emergency=review)
    gate = hearing.team.gate
    gate.write_policy("break-glass", [{"kind": "Group", "name": "corp:sre"}], [rule])
    alice = hearing.team.people["alice"]
    wish = {"cluster": "dev", "purpose": "the database is down", "allow": [f"get secrets -n {namespace}"], "for": "5m"}
    gate.wait_until(lambda: alice("POST", "/emergencies/check", wish).status == 200, "the policy is in force")
    taken = alice("POST", "/emergencies", wish)
    assert taken.status == 201, taken.document
    gate.wait_until(lambda: len(hearing.quiet.told) == 1, "the quiet one is told")
    (loud,) = [one.document for one in hearing.quiet.told]
    assert loud["type"] == "emergency.begun"
    assert loud["data"]["purpose"] == "the database is down"
    gate.wait_until(lambda: any(b"EMERGENCY" in one.body for one in hearing.slack.told), "Slack is told")
    gate.wait_until(lambda: any("EMERGENCY" in one.text for one in hearing.mail.mails), "mail has come")
    asked = [one.document["data"] for one in hearing.hook.told if one.document["type"] == "approval.asked"]
    assert hearing.team.answer("bob", asked[-1]["id"]).status == 200
    ended = alice("POST", f"/tasks/{taken.document['id']}/complete")
    assert ended.status == 200, ended.document


def test_an_operator_tries_whether_a_receiver_hears(hearing: Hearing) -> None:
    done = hearing.team.gate.command("notifications", "test", "hook")
    assert done.code == 0, done.text
    assert hearing.hook.told[-1].document["type"] == "notification.test"
    listed = hearing.team.gate.command("notifications", "list")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["NAME", "hook", "quiet", "chat", "mail"]


def test_what_waits_when_the_gate_is_killed_is_told_by_the_next_one(hearing: Hearing, configmap: str) -> None:
    gate = hearing.team.gate
    hearing.hook.answers = [Answer(503)] * 50
    running = hearing.kubectl.start("delete", "configmap", configmap)
    gate.wait_until(lambda: any(one.status == 503 for one in hearing.hook.heard), "it was tried")
    gate.kill()
    assert finished(running)[0] != 0
    hearing.hook.answers = []
    gate.start()
    asked = hearing.one_told("approval.asked", configmap)
    tried = {one.headers["webhook-id"] for one in hearing.hook.heard if configmap in one.body.decode()}
    assert len(tried) == 1
    hearing.team.approve(asked["id"])
    assert hearing.kubectl("delete", "configmap", configmap).code == 0
