"""`narrowgate policy`: files are judged as the gate would load them, and put in force whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.terminal import Terminal


def test_a_good_file_is_counted(shell: Terminal) -> None:
    done = shell("policy", "check", shell.write("a.yaml", shell.policy("a")))
    assert (done.code, done.out) == (0, "1 file, 1 policy, 2 rules: 0 errors, 0 warnings\n")


def test_masks_and_reveals_are_counted_where_there_are_some(shell: Terminal) -> None:
    masks = '  masks: [{id: a, apiGroups: [""], resources: [pods], fields: [spec.nodeName]}]\n'
    reveal = '    - {id: see, effect: reveal, apiGroups: [""], resources: [pods], approval: none}\n'
    done = shell("policy", "check", shell.write("a.yaml", shell.policy("a") + reveal + masks))
    assert (done.code, done.out) == (0, "1 file, 1 policy, 2 rules, 1 mask, 1 reveal: 0 errors, 0 warnings\n")


def test_every_error_of_every_file_is_said_with_its_line(shell: Terminal) -> None:
    first = shell.write("a.yaml", shell.policy("a", "effect: allow", "effect: alow"))
    second = shell.write("b.yaml", shell.policy("b", "verbs: [get, list, watch]", "verb: [get]"))
    done = shell("policy", "check", first, second)
    assert done.code == 1
    assert f'error: {first}:9: spec.rules[0].effect: "alow"' in done.err
    assert f"error: {second}:10: spec.rules[0].verb" in done.err
    assert done.out.startswith("2 files, 0 policies, 0 rules: ")


def test_warnings_are_said_and_do_not_fail(shell: Terminal) -> None:
    wide = shell.write("a.yaml", shell.policy("a", "verbs: [get, list, watch]", 'verbs: ["*"]'))
    done = shell("policy", "check", wide)
    assert done.code == 0
    assert f"warning: {wide}:" in done.err


def test_programs_get_json(shell: Terminal) -> None:
    bad = shell.write("a.yaml", shell.policy("a", "effect: allow", "effect: alow"))
    done = shell("policy", "check", bad, "-o", "json")
    assert done.code == 1
    assert [(one["file"], one["line"]) for one in done.json["errors"]] == [(str(bad), 9)]


def test_the_same_name_in_two_files_is_an_error_of_the_set(shell: Terminal) -> None:
    paths = [shell.write(f"{one}.yaml", shell.policy("same")) for one in "ab"]
    done = shell("policy", "check", *paths)
    assert done.code == 1
    assert 'the policy "same" is written twice' in done.err


def test_without_files_the_gates_own_are_checked(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    assert shell("policy", "check").out.startswith("1 file, 1 policy")


def test_a_folder_stands_for_its_files(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    shell.write("policies/.a.yaml.swp", "editor's own")
    assert shell("policy", "check", shell.policies).out.startswith("1 file, 1 policy")


@pytest.mark.parametrize("name", ["missing.yaml", "policies"])
def test_nothing_to_check_is_said(shell: Terminal, name: str) -> None:
    done = shell("policy", "check", shell.folder / name)
    assert done.code == 1
    assert done.err.startswith("narrowgate: ")
    assert len(done.err.splitlines()) == 1


def test_applied_files_are_in_the_folder_and_a_revision(shell: Terminal) -> None:
    source = shell.write("web.yaml", shell.policy("web"))
    done = shell("policy", "apply", source)
    assert done.code == 0
    assert (shell.policies / "web.yaml").read_text() == source.read_text()
    assert [one["number"] for one in shell("policy", "revisions", "-o", "json").json] == [1]


def test_a_file_that_does_not_fit_to_the_others_changes_nothing(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("same"))
    source = shell.write("b.yaml", shell.policy("same"))
    done = shell("policy", "apply", source)
    assert done.code == 1
    assert f"nothing was written to {shell.policies}" in done.err
    assert [one.name for one in shell.policies.iterdir()] == ["a.yaml"]
    assert shell("policy", "revisions", "-o", "json").json == []


def test_of_several_files_one_bad_one_stops_all(shell: Terminal) -> None:
    good = shell.write("good.yaml", shell.policy("good"))
    bad = shell.write("bad.yaml", shell.policy("bad", "effect: allow", "effect: alow"))
    assert shell("policy", "apply", good, bad).code == 1
    assert list(shell.policies.iterdir()) == []


def test_a_dry_run_says_what_would_change(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    same, new = shell.write("a.yaml", shell.policy("a")), shell.write("b.yaml", shell.policy("b"))
    done = shell("policy", "apply", same, new, "--dry-run", "-o", "json")
    assert (done.json["changed"], done.json["revision"]) == (["b.yaml"], None)
    assert not (shell.policies / "b.yaml").exists()


def test_applying_the_same_twice_makes_one_revision(shell: Terminal) -> None:
    source = shell.write("a.yaml", shell.policy("a"))
    first, second = shell("policy", "apply", source, "-o", "json"), shell("policy", "apply", source, "-o", "json")
    assert (first.json["revision"], second.json["revision"]) == (1, 1)
    assert second.json["changed"] == []


@pytest.mark.parametrize("name", ["rules.txt", ".hidden.yaml"])
def test_a_name_the_gate_would_not_load_is_refused(shell: Terminal, name: str) -> None:
    done = shell("policy", "apply", shell.write(name, shell.policy("a")))
    assert done.code == 1
    assert "not a name the gate would load" in done.err


def test_a_folder_that_cannot_be_written_is_named(shell: Terminal) -> None:
    source = shell.write("a.yaml", shell.policy("a"))
    shell.config.write_text(shell.config.read_text() + "policies: gone\n")
    done = shell("policy", "apply", source)
    assert done.code == 1
    assert f"{shell.folder / 'gone'}: the policy folder does not exist" in done.err


def test_a_revision_shows_what_it_changed(shell: Terminal) -> None:
    source = shell.write("a.yaml", shell.policy("a"))
    shell("policy", "apply", source)
    source.write_text(shell.policy("a", "resources: [pods]", "resources: [pods, services]"))
    shell("policy", "apply", source)
    changed = shell("policy", "revisions", "2", "--diff").out
    assert "-      resources: [pods]\n+      resources: [pods, services]\n" in changed
    assert "--- a.yaml (revision 1)" in changed
    assert "+++ a.yaml (revision 2)" in changed
    assert shell("policy", "revisions", "1").out == f"# a.yaml\n{shell.policy('a')}\n"


def test_a_revision_that_never_was_is_one_line(shell: Terminal) -> None:
    done = shell("policy", "revisions", "7")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("question", "code", "answer"),
    [
        (("get", "pods", "-n", "ci"), 0, "allow: rule a/read covers it"),
        (("get", "pods/web", "-n", "ci"), 0, "allow: rule a/read covers it"),
        (("get", "pods", "-n", "prod"), 1, "deny: "),
        (("list", "pods"), 0, "allow: a part of it: the objects that could be asked for one by one, by a/read"),
        (("delete", "namespaces/ci"), 1, "rule never of policy a denies it"),
        (("create", "pods/web", "--subresource", "exec", "-n", "ci"), 1, "deny: "),
        (("get", "/metrics"), 1, "deny: "),
        (("get", "/version"), 0, "allow: "),
    ],
)
def test_explain_answers_as_the_gate_would(shell: Terminal, question: tuple[str, ...], code: int, answer: str) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    done = shell("policy", "explain", "--as", "agent:ci", *question)
    assert done.code == code
    assert answer in done.out.splitlines()[0]


def test_explain_names_every_rule_with_its_place(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    out = shell("policy", "explain", "--as", "agent:ci", "get", "pods", "-n", "ci").out
    assert "  * allow     a/read (a.yaml:8): covers" in out or f"({shell.policies / 'a.yaml'}:8): covers" in out


def test_explain_judges_every_member_of_a_chain(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    done = shell("policy", "explain", "--as", "agent:other", "--as", "agent:ci", "get", "pods", "-n", "ci")
    assert done.code == 1


def test_explain_reads_the_object(shell: Terminal) -> None:
    shell.write("policies/a.yaml", shell.policy("a", "verbs: [get, list, watch]", "verbs: [create]"))
    pod = shell.write("pod.yaml", "metadata: {name: web}\nspec: {volumes: [{name: k, secret: {secretName: key}}]}\n")
    done = shell("policy", "explain", "--as", "agent:ci", "create", "pods", "-n", "ci", "-f", pod, "-o", "json")
    assert done.code == 1
    assert any("secretName" in part["because"] for part in done.json["parts"])


def test_explain_can_ask_files_that_are_not_in_force(shell: Terminal) -> None:
    draft = shell.write("draft.yaml", shell.policy("a"))
    asked = ("policy", "explain", "--as", "agent:ci", "get", "pods", "-n", "ci")
    assert shell(*asked).code == 1
    assert shell(*asked, "--policies", draft).code == 0


def test_explain_needs_to_know_the_cluster(shell: Terminal, tmp_path: Path) -> None:
    shell.write("policies/a.yaml", shell.policy("a"))
    shell.config.write_text(shell.config.read_text() + "  - name: stage\n    inCluster: true\n")
    done = shell("policy", "explain", "--as", "agent:ci", "get", "pods", "-n", "ci")
    assert done.code == 1
    assert "add --cluster, one of: prod, stage" in done.err
