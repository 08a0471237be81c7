"""What approvers are shown of a held request: what it would do, all of it or that there is more, and no secret."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.deciding import NOW

from narrowgate.core.account_rights import Account, HeldRight
from narrowgate.core.intent import Intent
from narrowgate.core.moment import moment_text
from narrowgate.core.pods_seen import AccountSeen, PodsSeen, Template
from narrowgate.core.request_info import request_info
from narrowgate.core.request_summary import MAX_LINES, MAX_PODS, Seen, summary_of
from narrowgate.core.rights import Right
from narrowgate.core.target import parse_target
from narrowgate.core.understand import is_streaming

WEB = "/apis/apps/v1/namespaces/ci/deployments/web"
SECRETS = "/api/v1/namespaces/ci/secrets"
PATCH = b'{"spec":{"replicas":5}}'


def shown(method: str, path: str, body: bytes = b"", seen: Seen | None = None, read: Any = None) -> tuple[str, ...]:
    target = parse_target(path.encode())
    info = request_info(method, target)
    if is_streaming(info):
        info = msgspec.structs.replace(info, verb="create")
    return summary_of(Intent(cluster="prod", info=info, object=read), target, body, seen, NOW)


def created(body: bytes, read: Any = None) -> tuple[str, ...]:
    return shown("POST", "/apis/apps/v1/namespaces/ci/deployments", body, read=read)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Secret","data":{"password":"aHVzaA=="},"stringData":{"user":"hush"}}',
        b'{"metadata":{"annotations":{"last":"hush"}},"data":{"password":"hush"}}',
        b'[{"op":"add","path":"/data/password","value":"hush"}]',
        b"kind: Secret\nstringData: {a: hush}\n",
        b"\x00k8s\x00hush",
    ],
)
@pytest.mark.parametrize(
    "seen",
    [
        None,
        Seen(hidden="agent:bot may not get it"),
        Seen(old={"data": {"password": "hush"}}, new={"data": {"password": "aHVzaA=="}, "stringData": {"n": "hush"}}),
        Seen(old={"data": {"password": "hush"}}, refused="no"),
        Seen(new={"data": {"password": "hush"}}),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_value_of_a_secret_is_shown(method: str, body: bytes, seen: Seen | None) -> None:
    name = "" if method == "POST" else "/key"
    lines = " ".join(shown(method, SECRETS + name, body, None if method == "POST" else seen))
    assert "hush" not in lines
    assert "aHVzaA" not in lines
    assert "not shown" in lines


def test_the_names_of_what_a_secret_sets_are_shown() -> None:
    assert "data.password" in shown("POST", SECRETS, b'{"data":{"password":"aHVzaA=="}}')
    assert "add /data/password" in shown(
        "PATCH", f"{SECRETS}/key", b'[{"op":"add","path":"/data/password","value":"x"}]'
    )
    seen = Seen(old={"data": {"a": "x", "b": "y"}}, new={"data": {"a": "z", "c": "y"}})
    lines = shown("PUT", f"{SECRETS}/key", b"{}", seen)
    assert lines[1:] == ("~ data.a: changed", "- data.b: removed", "+ data.c: added")


def test_of_a_long_object_the_beginning_is_shown_and_that_there_is_more() -> None:
    lines = created(msgspec.json.encode({str(number): "x" * 1000 for number in range(1000)}))
    assert len(lines) == MAX_LINES + 1
    assert all(len(line) < 400 for line in lines)
    assert "802 lines more" in lines[-1]
    assert "at least 10000 lines more" in created(msgspec.json.encode([1] * 100_000))[-1]


def test_what_is_no_json_is_shown_as_it_was_understood_or_not_at_all() -> None:
    assert created(b"\x00k8s\x00x") == ("6 bytes that cannot be shown",)
    assert created(b"a: 1") == ("{", '  "a": 1', "}")
    assert created(b"\x00k8s\x00x", read={"a": 1}) == ("{", '  "a": 1', "}")
    assert created(b"") == ()


@pytest.mark.parametrize("body", [b'{"a":' * 400 + b"1" + b"}" * 400, b'"\\ud800"'])
def test_what_cannot_be_written_again_is_not_shown_and_breaks_nothing(body: bytes) -> None:
    assert len(created(body)) == 1


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_nothing_in_a_value_makes_a_line_of_its_own(separator: str) -> None:
    body = msgspec.json.encode({"args": f'x{separator}  "image": "good"'})
    assert len(created(body)) == 3
    seen = Seen(old={"a": "x"}, new={"a": f"x{separator}+ image: good"})
    assert len(shown("PUT", WEB, b"{}", seen)) == 2


def test_nothing_that_is_shown_turns_the_writing_around_or_hides() -> None:
    lines = created(msgspec.json.encode({"image": "safe\u202eevil\u200b\x1b[2J"}))
    assert all(line.isprintable() for line in lines)
    assert "\\u202e" in lines[1]
    command = shown("POST", "/api/v1/namespaces/ci/pods/web/exec?command=a%1b%5B2J%0Ab&command=%E2%80%AEx")
    assert all(line.isprintable() for line in command)


def test_a_write_is_shown_as_what_it_would_change() -> None:
    seen = Seen(old={"spec": {"replicas": 2, "a": 1}}, new={"spec": {"replicas": 5, "a": 1}})
    assert shown("PATCH", WEB, PATCH, seen) == ("- spec.replicas: 2", "+ spec.replicas: 5")
    assert shown("PUT", WEB, PATCH, Seen(old={"a": 1}, new={"a": 1})) == ("nothing would change",)


def test_where_the_difference_cannot_be_had_it_is_said_and_the_body_is_shown() -> None:
    sent = ("{", '  "spec": {', '    "replicas": 5', "  }", "}")
    assert shown("PATCH", WEB, PATCH, Seen(hidden="agent:bot may not get it")) == (
        "what is there now is not shown: agent:bot may not get it",
        *sent,
    )
    assert shown("PATCH", WEB, PATCH, Seen(old={"a": 1}, refused="spec.replicas: Invalid value")) == (
        "a dry run of it fails: spec.replicas: Invalid value",
        *sent,
    )
    assert shown("PUT", WEB, PATCH, Seen(new={"a": 1})) == ("there is no such object now: this would make it", *sent)


def test_a_subresource_of_status_shows_the_status() -> None:
    seen = Seen(old={"status": {"a": 1}}, new={"status": {"a": 2}})
    assert shown("PATCH", f"{WEB}/status", PATCH, seen) == ("- status.a: 1", "+ status.a: 2")


def test_a_delete_says_what_goes_whose_it_is_and_how_old() -> None:
    old = {
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "creationTimestamp": moment_text(NOW - 93_600.0),
            "ownerReferences": [{"kind": "App", "name": "shop"}],
            "finalizers": ["corp/backup"],
        },
    }
    lines = shown("DELETE", WEB, b'{"propagationPolicy":"Orphan"}', Seen(old=old))
    assert lines[:3] == (
        'deletes Deployment "web", 1d2h old',
        'owned by App "shop"',
        "waits, once deleted, for corp/backup",
    )
    assert '  "propagationPolicy": "Orphan"' in lines
    assert shown("DELETE", WEB, b"", Seen()) == ("there is no such object now",)
    assert shown("DELETE", WEB, b"", Seen(hidden="no")) == ("what it would delete is not shown: no",)
    odd = Seen(old={"metadata": {"creationTimestamp": 7, "ownerReferences": "x", "finalizers": [1], "name": None}})
    assert shown("DELETE", WEB, b"", odd) == ('deletes object "None"', "waits, once deleted, for 1")


def test_a_command_is_shown_argument_by_argument_to_its_end() -> None:
    path = (
        "/api/v1/namespaces/ci/pods/web/exec?command=sh&command=-c&command="
        + "a" * 450
        + "evil&stdin=true&container=app"
    )
    assert shown("GET", path) == (
        "container: app",
        "input: stdin",
        "argument 1: sh",
        "argument 2: -c",
        f"argument 3: {'a' * 200}",
        f"argument 3, further: {'a' * 200}",
        f"argument 3, further: {'a' * 50}evil",
    )


@pytest.mark.parametrize(
    ("query", "told"),
    [("tty=1&stdin=TRUE", "stdin and tty"), ("tty=false&stdin=0", "none"), ("tty=&stdin=yes", "stdin and tty")],
)
def test_what_is_opened_is_read_as_the_api_server_reads_it(query: str, told: str) -> None:
    assert f"input: {told}" in shown("POST", f"/api/v1/namespaces/ci/pods/web/attach?{query}")


def test_ports_that_are_named_are_shown() -> None:
    assert "port: 5432" in shown("GET", "/api/v1/namespaces/ci/pods/web/portforward?ports=5432")


def test_what_comes_of_a_patch_in_yaml_is_not_shown_in_the_place_of_the_patch() -> None:
    patch, result = b"spec: {replicas: 2}\n", {"spec": {"env": "hunter2"}}
    lines = shown("PATCH", WEB, patch, Seen(hidden="ci may not get it"), read=result)
    assert '    "replicas": 2' in lines
    assert "hunter2" not in "".join(lines)


def test_a_debug_container_is_shown_with_its_image_and_its_command() -> None:
    debug = {"name": "shell", "image": "busybox", "command": ["sh"], "args": ["-c", "id"], "targetContainerName": "app"}
    target = parse_target(b"/api/v1/namespaces/ci/pods/web/ephemeralcontainers")
    info = request_info("PATCH", target)
    pod = {"spec": {"ephemeralContainers": [debug, {"name": "other", "image": "x"}]}}
    intent = Intent(cluster="prod", info=info, object=pod, old_object={"spec": {}})
    assert summary_of(intent, target, b"{}", Seen(hidden="it may not get it"), NOW)[:9] == (
        "debug container: shell",
        "image: busybox",
        "sees the processes of: app",
        "argument 1: sh",
        "argument 2: -c",
        "argument 3: id",
        "debug container: other",
        "image: x",
        "runs what its image says, or what is not told",
    )


def pods_of(*accounts: AccountSeen, templates: int = 0, **more: Any) -> tuple[str, ...]:
    """The summary of a Deployment that is made, or of whatever `more` says it is."""
    target = parse_target(b"/apis/apps/v1/namespaces/ci/deployments")
    spec = {"serviceAccountName": "runner", "hostPID": True, "containers": [{"name": "c", "image": "registry/a:1"}]}
    seen = PodsSeen(accounts=accounts, templates=tuple(Template(f"spec.t{n}", spec) for n in range(templates)))
    made = {"spec": {"template": {"spec": spec}}}
    intent = Intent(cluster="prod", info=request_info("POST", target), object=made, pods=seen)
    return summary_of(msgspec.structs.replace(intent, **more), target, b"{}", None, NOW)


RIGHT = HeldRight(Right("get", "", "secrets"), "ci", "RoleBinding ci/x")


def test_what_pods_would_be_comes_before_what_their_maker_has_written() -> None:
    strong = AccountSeen(account=Account("ci", "runner"), rights=(RIGHT,))
    assert pods_of(strong, AccountSeen(account=Account("ci", "weak"))) == (
        "pods by spec.template.spec: runs as runner; privileged; its account's token; images registry/a:1",
        "service account ci/runner: may",
        "    get secrets in ci (RoleBinding ci/x)",
        "{}",
    )


def test_an_account_of_which_nothing_is_known_is_told() -> None:
    unknown = AccountSeen(account=Account("ci", "runner"), unknown="the API server does not answer")
    told = pods_of(unknown, object=None)
    assert told[0] == "service account ci/runner: what it may do is not known: the API server does not answer"


def test_many_pods_leave_room_for_the_rest() -> None:
    told = pods_of(templates=MAX_PODS + 5)
    assert told[MAX_PODS:] == ("pods at 5 more places", "{}")
