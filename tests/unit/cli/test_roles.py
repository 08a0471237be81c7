"""`narrowgate roles`, as it is typed on the gate's host."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
from tests.unit.cli.terminal import Terminal

from narrowgate.config import load_config
from narrowgate.store.open import open_store
from narrowgate.store.port import Change

BOUND = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Config
clusters: [{name: prod, inCluster: true}]
roles:
  - {role: ROLE, groups: [corp:admins], people: [zoe]}
"""


def changes(shell: Terminal) -> tuple[Change, ...]:
    config = load_config(shell.config)
    store = open_store(config.store, config.data_dir)
    try:
        return store.changes()
    finally:
        store.close()


def test_nobody_is_anything_at_first(shell: Terminal) -> None:
    done = shell("roles", "list")
    assert (done.code, done.out) == (0, "")
    assert "narrowgate roles give" in done.err
    assert shell("roles", "list", "-o", "json").json == []


def test_roles_are_given_and_taken_by_name_and_who_did_it_is_kept(shell: Terminal) -> None:
    assert shell("roles", "give", "zoe", "auditor").code == 0
    (listed,) = shell("roles", "list", "-o", "json").json
    assert (listed["role"], listed["kind"], listed["name"]) == ("auditor", "Person", "zoe")
    assert listed["givenBy"].startswith("local:")
    assert shell("roles", "take", "zoe", "auditor", "-o", "json").json == {
        "person": "zoe", "role": "auditor", "state": "taken",
    }  # fmt: skip
    assert [(change.action, change.subject) for change in changes(shell)] == [
        ("role.taken", "zoe"),
        ("role.given", "zoe"),
    ]


def test_what_the_configuration_gives_is_listed_with_it(shell: Terminal) -> None:
    shell.write("narrowgate.yaml", BOUND.replace("ROLE", "approver"))
    rows = [line.split() for line in shell("roles", "list").out.splitlines()]
    assert rows == [
        ["ROLE", "KIND", "NAME", "SINCE", "BY"],
        ["approver", "Group", "corp:admins", "-", "configuration"],
        ["approver", "Person", "zoe", "-", "configuration"],
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("give", "zoe", "member"), 2, "is not one of"),
        (("give", "zoe", "emperor"), 2, "is not one of"),
        (("give", "admin@local", "admin"), 2, "one-time link"),
        (("give", "system:admin", "admin"), 2, "reserved for Kubernetes"),
        (("give", "person:zoe", "admin"), 2, "write the name alone"),
        (("give", "zoe"), 2, "missing argument"),
        (("take", "zoe", "admin"), 1, 'zoe was not given the role "admin"'),
    ],
)
def test_what_cannot_be_done_is_one_line(shell: Terminal, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = shell("roles", *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (code, "", 1)
    assert sentence in done.err
    assert changes(shell) == ()


def test_an_agent_is_given_nothing(shell: Terminal) -> None:
    assert shell("agents", "add", "bot", "--owner", "person:zoe", "--purpose", "p").code == 0
    assert "agents have no roles" in shell("roles", "give", "bot", "admin").err


def test_the_link_leads_to_the_gate_with_its_code_where_no_server_sees_it(shell: Terminal) -> None:
    done = shell("roles", "first-admin")
    parts = urlsplit(done.out.strip())
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("https", "127.0.0.1:8444", "/first-admin", "")
    assert parts.fragment.startswith("ngf1_")
    assert "voids any link printed before" in done.err
    told = shell("roles", "first-admin", "-o", "json").json
    assert told["url"].partition("#")[0] == "https://127.0.0.1:8444/first-admin"
    assert told["url"] != done.out.strip()
    ends = time.mktime(time.strptime(told["expiresAt"], "%Y-%m-%dT%H:%M:%SZ")) - time.mktime(time.gmtime())
    assert 3500 < ends <= 3600


def test_the_code_is_nowhere_on_the_disk(shell: Terminal) -> None:
    code = shell("roles", "first-admin").out.strip().partition("#")[2]
    files = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if code[-40:].encode() in path.read_bytes()] == []


def test_there_is_no_link_once_there_is_an_admin(shell: Terminal) -> None:
    assert shell("roles", "give", "zoe", "admin").code == 0
    refused = shell("roles", "first-admin")
    assert (refused.code, refused.out) == (1, "")
    assert "there is an admin already" in refused.err
    assert shell("roles", "take", "zoe", "admin").code == 0
    assert shell("roles", "first-admin").code == 0
    shell.write("narrowgate.yaml", BOUND.replace("ROLE", "admin"))
    assert shell("roles", "first-admin").code == 1


def test_a_control_port_that_is_chosen_at_each_start_has_no_link(shell: Terminal) -> None:
    shell.write(
        "narrowgate.yaml", 'apiVersion: narrowgate.dev/v1alpha1\nkind: Config\nlisten: {control: "127.0.0.1:0"}\n'
    )
    refused = shell("roles", "first-admin")
    assert (refused.code, "write control.url" in refused.err) == (1, True)
