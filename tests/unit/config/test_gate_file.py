"""`narrowgate.yaml`: what it means, and what each mistake in it is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import (
    Audit,
    Config,
    ConfigError,
    Limits,
    Listen,
    ReadLevel,
    find_config,
    load_config,
    parse_config,
)
from narrowgate.core.cluster import UpstreamMode

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"

CONTRACT = """\
apiVersion: narrowgate.dev/v1alpha1
kind: Config
dataDir: ./narrowgate-data
listen: {kubernetes: "127.0.0.1:8443", control: "127.0.0.1:8444", health: "127.0.0.1:8445"}
tls: {certificate: tls/gate.pem, key: /etc/gate.key}
store: sqlite:narrowgate-data/gate.db
recordings: file:narrowgate-data/recordings
policies: ./policies
clusters:
  - name: prod
    kubeconfig: ./admin.kubeconfig
    upstream: {mode: impersonate}
authentication:
  jwt: []
"""


def parsed(text: str) -> Config:
    return parse_config(text, Path("/srv/gate/narrowgate.yaml"))


def test_the_documented_configuration_means_what_it_says() -> None:
    config = parsed(CONTRACT)
    assert config.path == Path("/srv/gate/narrowgate.yaml")
    assert config.data_dir == Path("/srv/gate/narrowgate-data")
    assert config.listen == Listen(
        kubernetes=("127.0.0.1", 8443), control=("127.0.0.1", 8444), health=("127.0.0.1", 8445)
    )
    assert config.tls is not None
    assert config.tls.certificate == Path("/srv/gate/tls/gate.pem")
    assert config.tls.key == Path("/etc/gate.key")
    assert config.store == "sqlite:/srv/gate/narrowgate-data/gate.db"
    assert config.recordings == "file:/srv/gate/narrowgate-data/recordings"
    assert config.policies == Path("/srv/gate/policies")
    (cluster,) = config.clusters
    assert cluster.name == "prod"
    assert cluster.kubeconfig == Path("/srv/gate/admin.kubeconfig")
    assert cluster.mode is UpstreamMode.IMPERSONATE
    assert cluster.where == "/srv/gate/narrowgate.yaml:10: clusters[0]"


def test_two_lines_are_a_configuration_and_everything_else_has_a_default() -> None:
    config = parsed(HEAD)
    assert config.data_dir == Path("/srv/gate/narrowgate-data")
    assert config.store == "sqlite:/srv/gate/narrowgate-data/gate.db"
    assert config.recordings == "file:/srv/gate/narrowgate-data/recordings"
    assert config.policies == Path("/srv/gate/policies")
    assert (config.listen, config.audit, config.limits) == (Listen(), Audit(), Limits())
    assert (config.tls, config.clusters, config.server_names, config.workers) == (None, (), (), 1)


def test_the_data_folder_moves_store_and_recordings_with_it() -> None:
    config = parsed(HEAD + "dataDir: /var/lib/narrowgate\n")
    assert config.store == "sqlite:/var/lib/narrowgate/gate.db"
    assert config.recordings == "file:/var/lib/narrowgate/recordings"


def test_the_extensions_are_read() -> None:
    config = parsed(
        HEAD + "workers: 4\n"
        "tls: {names: [gate.example.com, '*.example.com', 192.0.2.7, '::1']}\n"
        "audit: {segmentBytes: 1048576, retention: 90d, reads: None, checkpoints: /mnt/worm/checkpoints.jsonl}\n"
        "limits: {connections: 5, headerBytes: 8192, headerCount: 20, bodyBytes: 100, headerTimeout: 1s,"
        " bodyTimeout: 2s, idleTimeout: 3s, connectTimeout: 4s, drainTimeout: 1m}\n"
    )
    assert config.workers == 4
    assert config.tls is None
    assert config.server_names == ("gate.example.com", "*.example.com", "192.0.2.7", "::1")
    assert config.audit == Audit(
        segment_bytes=1048576,
        retention=90 * 86_400.0,
        reads=ReadLevel.NONE,
        checkpoints=Path("/mnt/worm/checkpoints.jsonl"),
    )
    assert config.limits == Limits(
        connections=5,
        header_bytes=8192,
        header_count=20,
        body_bytes=100,
        header_timeout=1.0,
        body_timeout=2.0,
        idle_timeout=3.0,
        connect_timeout=4.0,
        drain_timeout=60.0,
    )


def test_ipv6_addresses_are_written_in_brackets() -> None:
    assert parsed(HEAD + 'listen: {kubernetes: "[::1]:0"}\n').listen.kubernetes == ("::1", 0)


def test_a_configuration_may_be_json() -> None:
    assert parsed('{"apiVersion": "narrowgate.dev/v1alpha1", "kind": "Config", "workers": 2}').workers == 2


MISTAKES = {
    "empty": ("", ":1: a configuration is a mapping|narrowgate.yaml: a configuration is a mapping"),
    "a list": ("- a\n", ":1: a configuration is a mapping"),
    "not YAML": ("a: [1\nb: 2\n", r":2: this is not YAML: .*mend"),
    "two documents": (HEAD + "---\na: b\n", r":3: this is not YAML"),
    "no version": ("kind: Config\n", ':1: "apiVersion" is missing'),
    "newer version": ("apiVersion: narrowgate.dev/v2\nkind: Config\n", r":1: apiVersion: this version reads"),
    "other kind": ("apiVersion: narrowgate.dev/v1alpha1\nkind: Policy\n", r':2: kind: expected "Config"'),
    "near miss": (
        HEAD + "listen:\n  kubernets: x\n",
        r':4: listen\.kubernets: unknown key, did you mean "kubernetes"\?',
    ),
    "wrong case": (HEAD + "datadir: x\n", r':3: datadir: unknown key, did you mean "dataDir"\?'),
    "far miss": (HEAD + "zzz: x\n", r":3: zzz: unknown key; known here: apiVersion, kind, dataDir"),
    "deep key": (
        HEAD + "clusters:\n- name: a\n  upstream: {mod: x}\n",
        r":5: clusters\[0\]\.upstream\.mod: unknown key",
    ),
    "twice": (HEAD + "workers: 1\nworkers: 2\n", r":4: workers: written twice, first in line 3"),
    "alias": (HEAD + "listen: &a {kubernetes: '127.0.0.1:1'}\ntls: *a\n", r":3: .*aliases|:4: .*aliases"),
    "merge": (HEAD + "listen:\n  <<: {kubernetes: '127.0.0.1:1'}\n", r":4: listen: a key must be a plain word"),
    "list as key": (HEAD + "? [a, b]\n: c\n", r":3: a key must be a plain word"),
    "type": (HEAD + "workers: many\n", r":3: workers: expected a whole number, found text"),
    "number for text": (HEAD + "dataDir: 5\n", r":3: dataDir: expected text, found a whole number; put it in quotes"),
    "nothing": (HEAD + "listen:\n", r":3: listen: expected keys with values, found nothing"),
    "true as number": (HEAD + "workers: true\n", r":3: workers: expected a whole number, found true or false"),
    "no workers": (HEAD + "workers: 0\n", r":3: workers: expected 1 to 256"),
    "no port": (HEAD + "listen: {kubernetes: localhost}\n", r':3: listen\.kubernetes: "localhost" is not host:port'),
    "big port": (HEAD + "listen: {control: 'a:65536'}\n", r":3: listen\.control: .*not host:port"),
    "bare IPv6": (HEAD + "listen: {health: '::1:80'}\n", r":3: listen\.health: an IPv6 address needs brackets"),
    "same port": (
        HEAD + "listen: {control: '127.0.0.1:8443'}\n",
        r":3: listen\.control: the same address as listen\.kub",
    ),
    "half a pair": (HEAD + "tls: {certificate: x}\n", r':3: tls: "key" is missing'),
    "lonely CA": (HEAD + "tls: {certificateAuthority: x}\n", r":3: tls: certificateAuthority goes with"),
    "server name with two dots": (HEAD + "tls: {names: [a..b]}\n", r':3: tls\.names\[0\]: "a\.\.b" is neither'),
    "server name with a port": (HEAD + "tls: {names: ['a:1']}\n", r':3: tls\.names\[0\]: "a:1" is neither'),
    "server name": (HEAD + "tls: {names: ['a b']}\n", r':3: tls\.names\[0\]: "a b" is neither'),
    "postgres": (HEAD + "store: postgresql://db/gate\n", r":3: store: PostgreSQL is not in this version"),
    "store": (HEAD + "store: gate.db\n", r':3: store: cannot tell what "gate\.db" is; write sqlite:<file>'),
    "empty store": (HEAD + "store: 'sqlite:'\n", r":3: store: expected a path"),
    "gcs": (HEAD + "recordings: gs://b\n", r":3: recordings: Google Cloud Storage is not in this"),
    "a retention of recordings": (HEAD + "retention: {recordings: soon}\n", r":3: retention\.recordings: "),
    "former keys alone": (
        HEAD + "encryption: {formerRecordingKeyFiles: [old]}\n",
        r":3: encryption\.formerRecordingKeyFiles: goes with recordingKeyFile",
    ),
    "a retention": (HEAD + "retention: {tasks: 47h}\n", r":3: retention\.tasks: expected 2d or more"),
    "a hold": (HEAD + "approvals: {hold: 1h}\n", r":3: approvals\.hold: expected 10m at most"),
    "a depth": (HEAD + "tasks: {maxDepth: 9}\n", r":3: tasks\.maxDepth: expected a number from 1"),
    "no depth": (HEAD + "tasks: {maxDepth: 0}\n", r":3: tasks\.maxDepth: expected a number from 1"),
    "a role": (HEAD + "roles:\n- {role: king, groups: [a]}\n", r":4: roles\[0\]\.role: unknown value \"king\""),
    "a role of nobody": (HEAD + "roles:\n- {role: admin}\n", r":4: roles\[0\]: names nobody"),
    "a reserved group": (HEAD + "roles:\n- {role: admin, groups: ['system:masters']}\n", r":4: .*reserved"),
    "a control url": (HEAD + "control: {url: 'http://gate'}\n", r":3: control\.url: \"http://gate\" is not https"),
    "an access life": (
        HEAD + "authentication:\n  signIn: {lifetime: 1h, accessLifetime: 2h}\n",
        r":4: authentication\.signIn\.accessLifetime: longer than a sign-in",
    ),
    "cluster name": (HEAD + "clusters:\n- name: Prod\n  inCluster: true\n", r':4: clusters\[0\]\.name: "Prod" is no'),
    "cluster twice": (
        HEAD + "clusters:\n- {name: a, inCluster: true}\n- {name: a, inCluster: true}\n",
        r':5: clusters\[1\]\.name: "a" is already clusters\[0\]',
    ),
    "nowhere": (HEAD + "clusters:\n- name: a\n", r":4: clusters\[0\]: needs exactly one of .* found none of them"),
    "two ways": (HEAD + "clusters:\n- {name: a, inCluster: true, kubeconfig: x}\n", r"found kubeconfig and inCluster"),
    "no CA": (HEAD + "clusters:\n- {name: a, server: 'https://x', tokenFile: t}\n", r"also needs certificateAuthority"),
    "no token": (
        HEAD + "clusters:\n- {name: a, server: 'https://x', certificateAuthority: t}\n",
        r"also needs tokenFile",
    ),
    "odd token": (HEAD + "clusters:\n- {name: a, kubeconfig: x, tokenFile: t}\n", r"tokenFile: goes with server only"),
    "odd context": (
        HEAD + "clusters:\n- {name: a, inCluster: true, context: t}\n",
        r"context: goes with kubeconfig only",
    ),
    "mode": (
        HEAD + "clusters:\n- {name: a, inCluster: true, upstream: {mode: impersonat}}\n",
        r':4: clusters\[0\]\.upstream\.mode: unknown value "impersonat", did you mean "impersonate"\?',
    ),
    "reads": (HEAD + "audit: {reads: all}\n", r':3: audit\.reads: unknown value "all"; known here: Metadata, None'),
    "half a session": (HEAD + "audit: {sessions: Metadata}\n", r":3: audit\.sessions: all of it is recorded, or"),
    "half a log": (HEAD + "audit: {logs: Metadata}\n", r":3: audit\.logs: all of it is recorded, or nothing"),
    "half a watch": (HEAD + "audit: {watches: Metadata}\n", r":3: audit\.watches: all of it is recorded, or nothing"),
    "duration": (HEAD + "audit: {retention: 90}\n", r":3: audit\.retention: expected text"),
    "duration unit": (HEAD + "audit: {retention: '90'}\n", r':3: audit\.retention: "90" is not a length of time'),
    "no time": (HEAD + "limits: {idleTimeout: 0s}\n", r":3: limits\.idleTimeout: expected more than no time"),
    "small segment": (HEAD + "audit: {segmentBytes: 10}\n", r":3: audit\.segmentBytes: a segment holds at least"),
    "limit": (HEAD + "limits: {headerCount: 1}\n", r":3: limits\.headerCount: expected 16 or more, found 1"),
    "huge number": (HEAD + "workers: 0x" + "f" * 30 + "\n", r":3: workers:"),
    "number that is none": (HEAD + "workers: !!int abc\n", r':3: workers: "abc" cannot be read as int'),
    "too deep": (HEAD + "listen: " + "[" * 40 + "]" * 40 + "\n", r":3: .*nested more than 32 levels"),
    "far too deep": (HEAD + "listen: " + "[" * 600 + "]" * 600 + "\n", r"narrowgate.yaml.*(not YAML|nested)"),
}


@pytest.mark.parametrize(("text", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line_that_says_where_and_what_to_do(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parsed(text)
    told = str(caught.value)
    assert told.startswith("/srv/gate/narrowgate.yaml")
    assert "\n" not in told
    assert len(told) < 400


class TestFinding:
    """`find_config` looks in four places, in this order."""

    @pytest.fixture(autouse=True)
    def _four_places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for place, workers in (("given", 1), ("variable", 2), (".", 3), ("narrowgate-data", 4)):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / "narrowgate.yaml").write_text(f"{HEAD}workers: {workers}\n")

    def test_the_places_are_tried_in_order(self, tmp_path: Path) -> None:
        variable = {"NARROWGATE_CONFIG": str(tmp_path / "variable" / "narrowgate.yaml")}
        assert find_config("given/narrowgate.yaml", variable).workers == 1
        assert find_config(None, variable).workers == 2
        assert find_config(None, {}).workers == 3
        (tmp_path / "narrowgate.yaml").unlink()
        assert find_config(None, {}).workers == 4
        (tmp_path / "narrowgate-data" / "narrowgate.yaml").unlink()
        with pytest.raises(ConfigError, match="narrowgate up"):
            find_config(None, {})

    def test_what_was_named_and_is_missing_is_not_looked_for_elsewhere(self) -> None:
        with pytest.raises(ConfigError, match=r"^nowhere\.yaml: the configuration does not exist"):
            find_config("nowhere.yaml", {})
        with pytest.raises(ConfigError, match=r"^nowhere\.yaml: "):
            find_config(None, {"NARROWGATE_CONFIG": "nowhere.yaml"})

    def test_a_relative_file_gives_absolute_paths(self, tmp_path: Path) -> None:
        config = load_config(Path("given/../given/narrowgate.yaml"))
        assert config.policies == tmp_path / "given" / "policies"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe", "not UTF-8"), (b"a" * (1 << 20) + b"b", "larger than"), (None, "is a folder")],
    ids=["encoding", "size", "folder"],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "narrowgate.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_config(path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert load_config(tmp_path / "c.yaml").workers == 1
