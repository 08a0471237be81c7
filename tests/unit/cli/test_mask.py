"""`narrowgate mask try`: an object of one's own, as an agent would see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.terminal import Done, Terminal

from narrowgate.cli.program import run

SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: ci}
data: {word: aHVzaA==}
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: ci}
data:
  colour: red
  app.yaml: |
    db:
      password: hush
      host: db
"""
MASKS = """\
  masks:
    - {id: colour, apiGroups: [""], resources: [configmaps], fields: [data.colour]}
"""


class Anywhere(Terminal):
    """A terminal for a command that needs no gate and no configuration."""

    def __call__(self, *arguments: str | Path) -> Done:
        self._capsys.readouterr()
        code = run([*map(str, arguments)])
        return Done(code, *self._capsys.readouterr())


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Anywhere:
    return Anywhere(tmp_path, capsys)


def test_what_the_gate_masks_by_itself_is_shown_value_by_value(shell: Terminal) -> None:
    done = shell("mask", "try", shell.write("secret.yaml", SECRET))
    assert done.code == 0
    title, path, before, after = done.out.splitlines()
    assert (title, path, before) == ("Secret ci/app", "  data.word", "    - aHVzaA==")
    assert "([masked:narrowgate/secret-data:" in after
    assert "masked: 1 by narrowgate/secret-data" in done.err
    assert "a key made for this run" in done.err


def test_of_a_long_text_the_lines_that_differ_are_shown(shell: Terminal) -> None:
    done = shell("mask", "try", shell.write("config.yaml", CONFIG))
    assert '  data["app.yaml"]' in done.out
    assert "password: hush" in done.out
    assert "host" not in done.out


def test_of_a_long_line_what_differs_is_shown_with_what_is_beside_it(shell: Terminal) -> None:
    line = f"{'a ' * 200}password=hush {'b ' * 200}"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"line": line}}
    done = shell("mask", "try", shell.write("config.json", json.dumps(config)))
    assert "password=hush" in done.out
    assert max(map(len, done.out.splitlines())) < 150


def test_nothing_in_a_value_writes_to_the_terminal(shell: Terminal) -> None:
    metadata, data = {"name": "x\x1b[2J"}, {"k\x1b]0;": "a\x1b[31m\rb"}
    config = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    done = shell("mask", "try", shell.write("secret.json", json.dumps(config)))
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\r" not in done.out


def test_policies_are_tried_as_whoever_they_name(shell: Terminal) -> None:
    policies = shell.write("policies/a.yaml", shell.policy("team") + MASKS).parent
    config = shell.write("config.yaml", CONFIG)
    named = shell("mask", "try", config, "--policies", policies, "--as", "agent:ci")
    assert "[masked:team/colour:" in named.out
    other = shell("mask", "try", config, "--policies", policies, "--as", "agent:cii")
    assert "colour" not in other.out
    assert 'no policy here names agent "cii" on cluster prod' in other.err
    person = shell("mask", "try", config, "--policies", policies, "--as", "person:alice")
    assert person.out == "ConfigMap ci/conf: nothing is masked\n"
    assert "nothing is masked" in person.err


def test_the_whole_object_comes_as_yaml_or_json(shell: Terminal) -> None:
    config = shell.write("config.yaml", CONFIG)
    as_json = json.loads(shell("mask", "try", config, "-o", "json").out)
    assert as_json["data"]["colour"] == "red"
    assert "[masked:" in as_json["data"]["app.yaml"]
    as_yaml = yaml.safe_load(shell("mask", "try", config, "-o", "yaml").out)
    assert as_yaml.keys() == as_json.keys()
    assert as_yaml["metadata"] == {"name": "conf", "namespace": "ci"}


def test_the_same_object_has_other_digits_in_the_next_run(shell: Terminal) -> None:
    secret = shell.write("secret.yaml", SECRET)
    assert shell("mask", "try", secret, "-o", "json").out != shell("mask", "try", secret, "-o", "json").out


def test_other_kinds_are_told_by_their_resource(shell: Terminal) -> None:
    widget = shell.write("w.yaml", "apiVersion: example.com/v1\nkind: Widget\nspec: {password: hush}\n")
    unknown = shell("mask", "try", widget)
    assert unknown.code == 1
    assert "add --resource RESOURCE.GROUP" in unknown.err
    told = shell("mask", "try", widget, "--resource", "widgets.example.com")
    assert "[masked:narrowgate/field:" in told.out
    assert shell("mask", "try", widget, "--resource", "/version").code == 1


def test_misuse_is_told_apart_from_what_cannot_be_read(shell: Terminal) -> None:
    policies = shell.write("policies/a.yaml", shell.policy("team"))
    secret = shell.write("secret.yaml", SECRET)
    misuse = shell("mask", "try", secret, "--policies", policies)
    assert misuse.code == 2
    assert "--policies needs --as" in misuse.err
    assert shell("mask", "try").code == 2
    missing = shell("mask", "try", shell.folder / "no.yaml")
    assert (missing.code, "does not exist" in missing.err) == (1, True)
    broken = shell("mask", "try", shell.write("broken.yaml", "a: [b"))
    assert broken.code == 1
    nothing = shell("mask", "try", shell.write("nothing.yaml", "a: b"))
    assert (nothing.code, "it has no kind and apiVersion" in nothing.err) == (1, True)
    nobody = shell("mask", "try", secret, "--as", "robot:x")
    assert (nobody.code, "is nobody" in nobody.err) == (1, True)
