"""Access credentials by OAuth, at a running gate before the real cluster, with a real browser in the middle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from tests.e2e.agent_proofs import assertion
from tests.e2e.browser import sign_in_at_dex
from tests.e2e.dex import ALICE
from tests.e2e.gate import ALLOW_ALL_RULES, Agent, Cluster
from tests.e2e.kubectl import Kubectl
from tests.e2e.oauth_program import CLIENT_ID, GRANT, Program, holder, program
from tests.e2e.other_site import other_site
from tests.e2e.signing_in import SignInGate, sign_in_gate

NAMESPACES = "/api/v1/namespaces"
SECRET_PREFIXES = ("nga1_", "ngr1_", "ngc1_", "ngd1_")


@dataclass(frozen=True)
class Scene:
    """A gate before one cluster under two names, and Alice, who is signed in to its console and may do everything."""

    gate: SignInGate
    page: Page

    def allowed(self, asking: Program, **changed: str) -> dict[str, str]:
        """What the program gets to hear when Alice says yes."""
        self.page.goto(asking.address(**changed))
        self.page.click("button[name=decision][value=allow]")
        self.page.wait_for_selector("#done")
        return asking.answer()

    def signed_in(self, **fields: str) -> tuple[Program, dict[str, Any]]:
        """A program, and the answer of the token endpoint to its code."""
        with program(self.gate.url, self.gate.ca) as asking:
            status, answer = asking.redeem(self.allowed(asking)["code"], **fields)
        assert status == 200, answer
        return asking, answer

    def resource(self, cluster: str = "dev") -> str:
        return f"{self.gate.url}/clusters/{cluster}"

    def holder(self, access: str) -> Agent:
        return holder(self.gate.gate, self.gate.ca, access)

    def status(self, access: str, target: str = NAMESPACES) -> int:
        return self.holder(access).request("GET", target).status

    def wait_until_refused(self, access: str) -> str:
        """The words in which a credential is refused that was good a moment ago."""
        self.gate.gate.wait_until(lambda: self.status(access) == 401, "the access credential opens nothing")
        return self.holder(access).request("GET", NAMESPACES).message


@pytest.fixture(scope="module")
def scene(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = {"authentication": {"serviceAccounts": {"audience": "narrowgate", "clusters": ["dev"]}}}
    clusters = [
        {"name": name, "kubeconfig": str(cluster.kubeconfig), "upstream": {"mode": "credential"}}
        for name in ("dev", "again")
    ]
    with sign_in_gate(tmp_path_factory.mktemp("oauth"), clusters, settings) as running:
        for name in ("dev", "again"):
            subjects = [{"kind": "Group", "name": "corp:sre"}]
            running.gate.write_policy(f"sre-{name}", subjects, ALLOW_ALL_RULES, cluster=name)
        yield Scene(running, running.signed_in(ALICE))


def test_the_metadata_leads_to_everything(scene: Scene) -> None:
    asking = Program(scene.gate.url, scene.gate.ca)
    document = asking.get("/.well-known/oauth-authorization-server")
    assert document["issuer"] == scene.gate.url
    assert document["narrowgate_kubernetes_url"] == f"https://127.0.0.1:{scene.gate.gate.kubernetes_port}"
    assert document["narrowgate_certificate_authority"] == scene.gate.ca.read_text()
    assert '"again"' not in json.dumps(document)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_yes_in_the_browser_reaches_a_program_on_loopback(scene: Scene, host: str) -> None:
    with program(scene.gate.url, scene.gate.ca, host) as asking:
        brought = scene.allowed(asking)
        assert (brought["state"], brought["iss"]) == (asking.state, scene.gate.url)
        status, answer = asking.redeem(brought["code"], resource=scene.resource())
    assert status == 200
    assert scene.status(answer["access_token"]) == 200


def test_a_program_is_told_of_a_no(scene: Scene) -> None:
    with program(scene.gate.url, scene.gate.ca) as asking:
        scene.page.goto(asking.address())
        scene.page.click("button[name=decision][value=deny]")
        scene.page.wait_for_selector("#done")
        assert asking.answer()["error"] == "access_denied"


def test_whoever_is_not_signed_in_signs_in_on_the_way(scene: Scene) -> None:
    page = scene.gate.page()
    with program(scene.gate.url, scene.gate.ca) as asking:
        page.goto(asking.address())
        sign_in_at_dex(page, ALICE)
        page.click("button[name=decision][value=allow]")
        page.wait_for_selector("#done")
        assert asking.redeem(asking.answer()["code"])[0] == 200


def test_a_credential_opens_its_cluster_and_no_other_road(scene: Scene) -> None:
    asking, answer = scene.signed_in(resource=scene.resource())
    access = answer["access_token"]
    assert scene.status(access) == 200
    assert scene.status(access, f"/clusters/dev{NAMESPACES}") == 200
    assert scene.status(access, f"/clusters/again{NAMESPACES}") in (400, 403)
    status, refused = asking.exchange(access, resource=scene.resource("again"))
    assert (status, refused["error"]) == (400, "invalid_request")
    control = asking.refresh(answer["refresh_token"])[1]["access_token"]
    assert scene.status(control) == 401


def test_a_code_shown_again_ends_what_was_made_from_it_at_the_data_port(scene: Scene) -> None:
    with program(scene.gate.url, scene.gate.ca) as asking:
        code = scene.allowed(asking)["code"]
        answer = asking.redeem(code, resource=scene.resource())[1]
        watching = scene.holder(answer["access_token"])
        with watching.connect() as connection:
            connection.send(watching.bytes_of("GET", f"{NAMESPACES}?watch=true"))
            seen = connection.receive()
            assert b" 200 " in seen
            assert asking.redeem(code)[1]["error"] == "invalid_grant"
            assert "sign-in of" in scene.wait_until_refused(answer["access_token"])
            # The stream ends from our side: its last chunk comes, instead of waiting for the next event.
            while not seen.endswith(b"0\r\n\r\n") and (more := connection.receive()):
                seen += more
        assert asking.refresh(answer["refresh_token"])[1]["error"] == "invalid_grant"


def test_a_code_without_its_verifier_is_worth_nothing(scene: Scene) -> None:
    with program(scene.gate.url, scene.gate.ca) as asking:
        code = scene.allowed(asking)["code"]
        assert asking.redeem(code, code_verifier="x" * 43)[1]["error"] == "invalid_grant"
        assert asking.redeem(code)[1]["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uri": "http://localhost:1234/callback"},
        {"redirect_uri": "http://127.0.0.1:1234@evil.example/callback"},
        {"client_id": "somebody-else"},
    ],
)
def test_the_browser_is_never_led_elsewhere(scene: Scene, changed: dict[str, str]) -> None:
    asking = Program(scene.gate.url, scene.gate.ca, "http://127.0.0.1:1234/callback")
    scene.page.goto(asking.address(**changed))
    assert scene.page.url.startswith(scene.gate.url)
    assert scene.page.locator("button[name=decision]").count() == 0
    assert scene.page.locator("[role=alert]").count() == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_cannot_say_yes_for_a_person(scene: Scene, host: str, tmp_path: Path) -> None:
    asking = Program(scene.gate.url, scene.gate.ca)
    started = asking.post("/oauth/device_authorization", {"client_id": CLIENT_ID})[1]
    fields = {"user_code": started["user_code"], "decision": "allow", "csrf_token": "0" * 64}
    with other_site(tmp_path, https=False, host=host) as site:
        scene.page.goto(site.form("/trap", f"{scene.gate.url}/device", fields))
        scene.page.wait_for_url(f"{scene.gate.url}/device")
    assert scene.page.locator("[role=alert]").count() == 1
    answer = asking.token(GRANT + "device_code", device_code=started["device_code"])[1]
    assert answer["error"] in ("authorization_pending", "slow_down")


def test_the_page_for_devices_says_from_where_it_was_asked(scene: Scene) -> None:
    started = Program(scene.gate.url, scene.gate.ca).post("/oauth/device_authorization", {"client_id": CLIENT_ID})[1]
    scene.page.goto(started["verification_uri"])
    scene.page.fill("#user_code", started["user_code"].lower().replace("-", " "))
    scene.page.click("button")
    shown = scene.page.inner_text("main")
    assert started["user_code"] in shown
    assert "127.0.0.1" in shown
    assert "Python-urllib" in shown
    scene.page.click("button[name=decision][value=deny]")
    assert "not signed in" in scene.page.inner_text("main")


def test_signing_out_ends_what_was_given(scene: Scene) -> None:
    asking, answer = scene.signed_in(resource=scene.resource())
    assert scene.status(answer["access_token"]) == 200
    revoked = asking.post("/oauth/revoke", {"client_id": CLIENT_ID, "token": answer["refresh_token"]})
    assert revoked == (200, {})
    assert "narrowgate login" in scene.wait_until_refused(answer["access_token"])


def test_an_agent_with_a_key_reaches_its_cluster_until_the_key_is_removed(scene: Scene) -> None:
    gate = scene.gate.gate
    key = gate.folder / "keyed.key"
    added = gate.command(
        "agents", "add", "keyed", "--owner", "person:alice", "--purpose", "t", "--cluster", "dev", "--no-credential"
    )
    made = gate.command("agents", "keys", "generate", "keyed", "--out", str(key), "-o", "json")
    assert (added.code, made.code) == (0, 0), added.text + made.text
    gate.write_policy("keyed", [{"kind": "Agent", "name": "keyed"}], ALLOW_ALL_RULES)
    asking = Program(scene.gate.url, scene.gate.ca)
    given: list[str] = []

    def asked(signed: str, cluster: str = "dev") -> dict[str, Any]:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        fields = {"client_assertion_type": kind, "client_assertion": signed, "resource": scene.resource(cluster)}
        return asking.post("/oauth/token", {"grant_type": "client_credentials", **fields})[1]

    def is_known() -> bool:
        # The control process hears of a new agent a moment after the command has ended.
        given[:] = [asked(assertion(gate, "keyed", key)).get("access_token", "")]
        return bool(given[0])

    gate.wait_until(is_known, "the agent gets an access credential")
    gate.wait_until(lambda: scene.status(given[0]) == 200, "the agent's policy is in force")
    assert asked(assertion(gate, "keyed", key), "again")["error"] == "invalid_target"
    once = assertion(gate, "keyed", key)
    assert "access_token" in asked(once)
    assert asked(once)["error"] == "invalid_client"
    keys = json.loads(gate.command("agents", "show", "keyed", "-o", "json").out)["keys"]
    assert gate.command("agents", "keys", "remove", "keyed", keys[0]["id"]).code == 0
    assert "key" in scene.wait_until_refused(given[0])


def test_a_service_account_exchanges_its_token(scene: Scene, direct: Kubectl, namespace: str) -> None:
    gate = scene.gate.gate
    gate.write_policy("account", [{"kind": "ServiceAccount", "name": f"{namespace}/default"}], ALLOW_ALL_RULES)
    asking = Program(scene.gate.url, scene.gate.ca)
    token = direct.must("create", "token", "default", "-n", namespace, "--audience", "narrowgate").strip()
    status, answer = asking.exchange(token, resource=scene.resource())
    assert status == 200, answer
    assert "refresh_token" not in answer
    assert answer["expires_in"] <= 900
    gate.wait_until(lambda: scene.status(answer["access_token"]) == 200, "the account's policy is in force")
    assert asking.exchange(token, resource=scene.resource("again"))[1]["error"] == "invalid_target"
    for_another = direct.must("create", "token", "default", "-n", namespace).strip()
    assert asking.exchange(for_another, resource=scene.resource())[1]["error"] == "invalid_request"


def test_no_secret_is_in_the_record_the_log_or_the_store(scene: Scene) -> None:
    _, answer = scene.signed_in(resource=scene.resource())
    scene.status(answer["access_token"])
    gate = scene.gate.gate
    gate.wait_for_event(answer["refresh_token"].split("_")[1])
    kept = b"".join(file.read_bytes() for file in gate.data_dir.rglob("*") if file.is_file())
    text = kept.decode("latin-1") + gate.log.read_text()
    assert [prefix for prefix in SECRET_PREFIXES if prefix in text] == []


def test_the_record_tells_the_story_of_a_sign_in(scene: Scene) -> None:
    _, answer = scene.signed_in()
    sign_in = answer["refresh_token"].split("_")[1]
    told = [
        (event["stage"], event["objectRef"]["resource"], event["user"]["username"])
        for event in scene.gate.gate.events(sign_in)
        if event.get("objectRef", {}).get("name") == sign_in
    ]
    person = f"person:{ALICE.email}"
    assert told == [
        ("RequestReceived", "authorizations", person),
        ("ResponseComplete", "authorizations", person),
        ("RequestReceived", "signins", person),
        ("ResponseComplete", "signins", person),
    ]
