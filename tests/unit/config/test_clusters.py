"""From a registered cluster to its credential: what a kubeconfig means, and what in it is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from narrowgate.config import ClusterConfig, ConfigError, cluster_access
from narrowgate.core.cluster import ClusterAccess, UpstreamMode
from narrowgate.keys import Keys

Document = dict[str, Any]
Change = Callable[[Document, Document, Document], object]
"""A change to the cluster, the user and the whole of a kubeconfig that works."""


class Pair(msgspec.Struct, frozen=True):
    ca: bytes
    certificate: bytes
    key: bytes


def made_pair(folder: Path, now: datetime | None = None) -> Pair:
    keys = Keys.load_or_make(folder, now=now)
    return Pair(keys.ca_pem, keys.certificate_path.read_bytes(), keys.key_path.read_bytes())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made_pair(tmp_path_factory.mktemp("pair") / "data")


def data(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def read(tmp_path: Path, pair: Pair) -> Callable[..., ClusterAccess]:
    """Read a kubeconfig that works but for `change`."""

    def read(change: Change = lambda *_: None, **options: Any) -> ClusterAccess:
        cluster: Document = {"server": "https://api.example.com:6443", "certificate-authority-data": data(pair.ca)}
        user: Document = {"client-certificate-data": data(pair.certificate), "client-key-data": data(pair.key)}
        whole: Document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "one",
            "preferences": {},
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "x"}}],
            "clusters": [{"name": "other", "cluster": {}}, {"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}, {"name": "v", "user": {"token": "t0ken"}}],
        }
        change(cluster, user, whole)
        path = tmp_path / "admin.kubeconfig"
        path.write_text(yaml.safe_dump(whole))
        return cluster_access(ClusterConfig(name="prod", kubeconfig=path, **options))

    return read


def only_token(user: Document, token: str = "t0ken") -> None:
    user.clear()
    user["token"] = token


def test_a_client_certificate_and_inline_data_are_read(read: Callable[..., ClusterAccess], pair: Pair) -> None:
    access = read(mode=UpstreamMode.IMPERSONATE, account_namespace="gate")
    assert access == ClusterAccess(
        name="prod",
        host="api.example.com",
        port=6443,
        certificate_authority=pair.ca,
        client_certificate=pair.certificate,
        client_key=pair.key,
        mode=UpstreamMode.IMPERSONATE,
        account_namespace="gate",
    )


def test_files_are_found_beside_the_kubeconfig(read: Callable[..., ClusterAccess], pair: Pair, tmp_path: Path) -> None:
    for name, content in (("ca.crt", pair.ca), ("u.crt", pair.certificate), ("u.key", pair.key)):
        (tmp_path / name).write_bytes(content)

    def change(cluster: Document, user: Document, _: Document) -> None:
        del cluster["certificate-authority-data"]
        cluster["certificate-authority"] = "ca.crt"
        user.clear()
        user.update({"client-certificate": "u.crt", "client-key": str(tmp_path / "u.key")})

    access = read(change)
    assert (access.certificate_authority, access.client_certificate, access.client_key) == (
        pair.ca,
        pair.certificate,
        pair.key,
    )


def test_a_token_is_read(read: Callable[..., ClusterAccess]) -> None:
    access = read(lambda _cluster, user, _whole: only_token(user, "ey.J-_/+=\n"))
    assert (access.token, access.token_file, access.client_certificate) == ("ey.J-_/+=", "", b"")


def test_of_token_and_token_file_the_file_counts(read: Callable[..., ClusterAccess], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    access = read(lambda _cluster, user, _whole: (only_token(user), user.update(tokenFile="token")))
    assert (access.token, access.token_file) == ("", str(tmp_path / "token"))


def test_whether_known_values_are_masked_goes_along(read: Callable[..., ClusterAccess]) -> None:
    assert read(masks_known_values=True).masks_known_values
    assert not read().masks_known_values


def test_another_context_can_be_named(read: Callable[..., ClusterAccess]) -> None:
    def change(_cluster: Document, _user: Document, whole: Document) -> None:
        whole["contexts"].append({"name": "two", "context": {"cluster": "c", "user": "v"}})

    assert read(change, context="two").token == "t0ken"


@pytest.mark.parametrize(
    ("server", "host", "port", "prefix"),
    [
        ("https://a.example.com", "a.example.com", 443, ""),
        ("https://A.example.com:8443/k8s/clusters/c-1/", "a.example.com", 8443, "/k8s/clusters/c-1"),
        ("https://[2001:db8::1]:6443", "2001:db8::1", 6443, ""),
    ],
)
def test_a_server_is_host_port_and_path(
    read: Callable[..., ClusterAccess], server: str, host: str, port: int, prefix: str
) -> None:
    access = read(lambda cluster, _user, _whole: cluster.update(server=server))
    assert (access.host, access.port, access.path_prefix) == (host, port, prefix)


def test_the_server_name_of_the_configuration_wins_over_the_kubeconfigs(read: Callable[..., ClusterAccess]) -> None:
    def change(cluster: Document, _user: Document, _whole: Document) -> None:
        cluster["tls-server-name"] = "kubernetes"

    assert read(change).tls_server_name == "kubernetes"
    assert read(change, tls_server_name="mine").tls_server_name == "mine"


REFUSED: dict[str, tuple[Change, str]] = {
    "insecure": (lambda c, _u, _w: c.update({"insecure-skip-tls-verify": True}), r"never connects without"),
    "proxy": (lambda c, _u, _w: c.update({"proxy-url": "http://p"}), "proxy-url is set"),
    "exec": (lambda _c, u, _w: u.update(exec={"command": "aws"}), r"plugin \(exec\), which the gate does not start"),
    "auth provider": (lambda _c, u, _w: u.update({"auth-provider": {"name": "gcp"}}), "an auth-provider"),
    "password": (lambda _c, u, _w: u.update(username="a", password="b"), "has a name and password"),
    "as": (lambda _c, u, _w: u.update({"as": "admin"}), r"impersonates \(as\)"),
    "plain http": (lambda c, _u, _w: c.update(server="http://a:8080"), r'cluster "c": server "http://a:8080" is not'),
    "no server": (lambda c, _u, _w: c.pop("server"), 'server "" is not an https URL'),
    "odd port": (lambda c, _u, _w: c.update(server="https://a:x"), "is not a URL"),
    "login in URL": (lambda c, _u, _w: c.update(server="https://a:b@c"), "more than host, port and path"),
    "no CA": (lambda c, _u, _w: c.pop("certificate-authority-data"), 'cluster "c": nothing to verify the server with'),
    "CA not base64": (lambda c, _u, _w: c.update({"certificate-authority-data": "%"}), "authority-data is not base64"),
    "CA no PEM": (lambda c, _u, _w: c.update({"certificate-authority-data": "aGk="}), 'authority of "c": no PEM cert'),
    "CA file gone": (
        lambda c, _u, _w: (c.pop("certificate-authority-data"), c.update({"certificate-authority": "gone"})),
        r"gone: certificate-authority does not exist",
    ),
    "no credential": (lambda _c, u, _w: u.clear(), 'user "u": has no credential; add'),
    "two credentials": (lambda _c, u, _w: u.update(token="x"), "has a client certificate and a token"),
    "half a pair": (lambda _c, u, _w: u.pop("client-key-data"), "go together, and one is missing"),
    "key no PEM": (lambda _c, u, _w: u.update({"client-key-data": "aGk="}), '"u": the key is not a PEM private key'),
    "token with spaces": (lambda _c, u, _w: only_token(u, "a b"), "holds characters that no token has"),
    "token with newline": (lambda _c, u, _w: only_token(u, "a\r\nX: y"), "the token holds characters"),
    "token file gone": (lambda _c, u, _w: (u.clear(), u.update(tokenFile="gone")), "gone: the token file does not"),
    "no context": (lambda _c, _u, w: w.update({"current-context": ""}), "no current-context; name one"),
    "unknown context": (lambda _c, _u, w: w.update({"current-context": "onn"}), 'no context "onn", did you mean "one"'),
    "unknown user": (lambda _c, _u, w: w.update(users=None), 'no user "u"; it has none at all'),
    "unknown cluster": (lambda _c, _u, w: w["clusters"].pop(), 'no cluster "c"; known here: other'),
    "context of nothing": (lambda _c, _u, w: w["contexts"][0].pop("context"), 'no cluster ""'),
    "not lists": (lambda _c, _u, w: w.update(clusters={"a": 1}), r":\d+: clusters: expected a list"),
    "not text": (lambda c, _u, _w: c.update(server=5), r":\d+: clusters\[1\]\.cluster\.server: expected text"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_gate_will_not_do_is_one_line_that_names_cluster_and_file(
    read: Callable[..., ClusterAccess], change: Change, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read(change)
    told = str(caught.value)
    assert told.startswith('cluster "prod": /')
    assert "\n" not in told
    assert "t0ken" not in told


def test_certificate_and_key_of_different_pairs_are_refused(
    read: Callable[..., ClusterAccess], tmp_path: Path, pair: Pair
) -> None:
    other = made_pair(tmp_path / "other")
    with pytest.raises(ConfigError, match="do not belong together"):
        read(lambda _cluster, user, _whole: user.update({"client-key-data": data(other.key)}))


def test_an_expired_client_certificate_is_refused_with_its_day(
    read: Callable[..., ClusterAccess], tmp_path: Path
) -> None:
    old = made_pair(tmp_path / "old", datetime(2020, 1, 1, tzinfo=UTC))

    def change(_cluster: Document, user: Document, _whole: Document) -> None:
        user.update({"client-certificate-data": data(old.certificate), "client-key-data": data(old.key)})

    with pytest.raises(ConfigError, match="the certificate expired on 2020-12-31"):
        read(change)


def test_a_client_certificate_from_the_future_points_at_the_clock(
    read: Callable[..., ClusterAccess], tmp_path: Path
) -> None:
    early = made_pair(tmp_path / "early", datetime.now(UTC) + timedelta(days=2))

    def change(_cluster: Document, user: Document, _whole: Document) -> None:
        user.update({"client-certificate-data": data(early.certificate), "client-key-data": data(early.key)})

    with pytest.raises(ConfigError, match="clock"):
        read(change)


@pytest.mark.parametrize("text", ["", "just a word", "- a\n- b\n"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r'cluster "prod": .*/k: this is no kubeconfig'):
        cluster_access(ClusterConfig(name="prod", kubeconfig=path))


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'cluster "prod": .*/k: the kubeconfig does not exist; make it'):
        cluster_access(ClusterConfig(name="prod", kubeconfig=tmp_path / "k"))


def test_server_authority_and_token_file_are_enough(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "ca").write_bytes(pair.ca)
    (tmp_path / "token").write_text("abc\n")
    cluster = ClusterConfig(
        name="prod", server="https://a:1", certificate_authority=tmp_path / "ca", token_file=tmp_path / "token"
    )
    access = cluster_access(cluster)
    assert (access.host, access.port, access.token, access.token_file) == ("a", 1, "", str(tmp_path / "token"))
    (tmp_path / "token").write_text("")
    with pytest.raises(ConfigError, match=r'cluster "prod": .*token: the token is empty'):
        cluster_access(cluster)
    (tmp_path / "ca").write_text("x")
    with pytest.raises(ConfigError, match=r'cluster "prod": .*ca: no PEM certificate'):
        cluster_access(cluster)


def test_in_a_pod_its_own_account_is_used(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "ca.crt").write_bytes(pair.ca)
    (tmp_path / "token").write_text("abc")
    cluster = ClusterConfig(name="prod", in_cluster=True, where="f:3: clusters[0]")
    around = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    access = cluster_access(cluster, around, tmp_path)
    assert (access.host, access.port, access.token_file) == ("10.0.0.1", 443, str(tmp_path / "token"))
    with pytest.raises(ConfigError, match=r'cluster "prod": f:3: clusters\[0\]: inCluster works in a pod only'):
        cluster_access(cluster, {}, tmp_path)
