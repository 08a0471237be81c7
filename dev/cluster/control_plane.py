"""etcd, the API server, the controllers and the scheduler: their flags, and why each differs from the default."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.api import Api
from dev.cluster.binaries import Binaries
from dev.cluster.certificates import Certificates, Pair
from dev.cluster.processes import Process, start, wait_for

CONTEXT = "narrowgate-dev"
SERVICE_RANGE = "10.96.0.0/16"
# The first address of the range is that of the service `kubernetes`.
KUBERNETES_SERVICE = "10.96.0.1"
ISSUER = "https://kubernetes.default.svc.cluster.local"
# So high that a benchmark measures the gate and not the API server's fairness queues.
REQUESTS_IN_FLIGHT = 10_000
# Megabytes of audit log before it is rotated, and how many are kept.
AUDIT_LOG_MEGABYTES, AUDIT_LOG_BACKUPS = 2_000, 1
# Requests a second of the controllers and the scheduler: thousands of simulated pods are to start within a minute.
CONTROLLER_QPS, CONTROLLER_BURST = 300, 600
# A cold page cache makes the API server's first start slow; afterwards it takes some six seconds.
START_SECONDS = 90.0

# omitStages is empty, so that RequestReceived is there too: the oracle tests compare arrivals with answers.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: []
rules:
  - level: Metadata
"""

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: {context}
clusters:
  - name: {context}
    cluster:
      server: {server}
      certificate-authority-data: {authority}
contexts:
  - name: {context}
    context: {{cluster: {context}, user: {user}}}
users:
  - name: {user}
    user:
      client-certificate-data: {certificate}
      client-key-data: {key}
"""


@dataclass(frozen=True)
class Ports:
    """Every port that the cluster listens on; all on loopback."""

    etcd: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int
    kubelet: int
    kubelet_health: int


class ControlPlane:
    """The servers of one cluster folder: what they read, how they are started, how they are reached."""

    def __init__(self, directory: Path, binaries: Binaries, ports: Ports, node_address: str) -> None:
        self._directory = directory
        self._binaries = binaries
        self._ports = ports
        self._node_address = node_address
        self._certificates = Certificates(directory / "certificates")
        self.authority = self._certificates.authority("narrowgate-dev-ca")
        self.server = f"https://127.0.0.1:{ports.api_server}"
        self.etcd_url = f"http://127.0.0.1:{ports.etcd}"
        self.kubeconfig = directory / "admin.kubeconfig"
        self.audit_log = directory / "audit.log"
        self._admin = self._certificates.client(
            "admin", self.authority, user="narrowgate-dev-admin", group="system:masters"
        )
        self.api = Api(ports.api_server, self.authority.certificate, self._admin)

    def write_files(self) -> None:
        """The servers' policies and kubeconfigs, and the administrator's."""
        (self._directory / "audit-policy.yaml").write_text(AUDIT_POLICY)
        self.write_kubeconfig(self.kubeconfig, "narrowgate-dev-admin", self._admin)
        for name in ("kube-controller-manager", "kube-scheduler"):
            user = f"system:{name}"
            self.write_kubeconfig(
                self._private(f"{name}.kubeconfig"), user, self._certificates.client(name, self.authority, user=user)
            )

    def start_etcd(self) -> Process:
        """Where Kubernetes keeps everything; plain HTTP, because it listens on loopback only."""
        data = self._directory / "etcd"
        data.mkdir(exist_ok=True, mode=0o700)
        etcd = self._binaries["etcd"]
        command: list[str | Path] = [
            etcd,
            "--name=narrowgate-dev",
            f"--data-dir={data}",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{self._ports.etcd_peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{self._ports.etcd_peer}",
            f"--initial-cluster=narrowgate-dev=http://127.0.0.1:{self._ports.etcd_peer}",
            "--quota-backend-bytes=8589934592",
            "--auto-compaction-retention=10m",
        ]
        # A cluster to throw away needs no durable writes, and is several times faster without; etcd 3.4 cannot yet.
        help_text = subprocess.run([etcd, "--help"], capture_output=True, text=True)
        if "--unsafe-no-fsync" in help_text.stdout + help_text.stderr:
            command.append("--unsafe-no-fsync")
        return start("etcd", command, self.log("etcd"), {})

    def start_api_server(self) -> Process:
        """The server that the gate stands in front of."""
        front = self._certificates.authority("narrowgate-dev-front-proxy-ca")
        proxy = self._certificates.client("front-proxy-client", front, user="front-proxy-client")
        kubelet = self._certificates.client(
            "kube-apiserver-kubelet-client", self.authority, user="kube-apiserver", group="system:masters"
        )
        names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
        serving = self._certificates.server(
            "kube-apiserver", self.authority, ["127.0.0.1", "::1", KUBERNETES_SERVICE], names
        )
        accounts = self._certificates.signing_key("service-account")
        command: list[str | Path] = [
            self._binaries["kube-apiserver"],
            "--bind-address=127.0.0.1",
            f"--secure-port={self._ports.api_server}",
            # Never dialled, because no reconciler publishes it: without it the server would look for a default route.
            f"--advertise-address={self._node_address}",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--etcd-servers={self.etcd_url}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority.certificate}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--kubelet-certificate-authority={self.authority.certificate}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            "--kubelet-preferred-address-types=InternalIP",
            # For aggregated APIs; nothing routes cluster addresses here, so the endpoints are dialled themselves.
            f"--requestheader-client-ca-file={front.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            "--enable-aggregator-routing=true",
            f"--max-requests-inflight={REQUESTS_IN_FLIGHT}",
            f"--max-mutating-requests-inflight={REQUESTS_IN_FLIGHT}",
            f"--audit-policy-file={self._directory / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
            f"--audit-log-maxbackup={AUDIT_LOG_BACKUPS}",
            "--profiling=false",
            "--v=1",
        ]
        return start("kube-apiserver", command, self.log("kube-apiserver"), {})

    def start_controller_manager(self) -> Process:
        """The controllers: ServiceAccounts and their tokens, garbage collection, Deployments and the rest."""
        accounts = self._certificates.signing_key("service-account")
        command = [
            *self._client_of_api_server("kube-controller-manager", self._ports.controller_manager),
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={accounts.key}",
            f"--root-ca-file={self.authority.certificate}",
            f"--cluster-signing-cert-file={self.authority.certificate}",
            f"--cluster-signing-key-file={self.authority.key}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
        ]
        return start("kube-controller-manager", command, self.log("kube-controller-manager"), {})

    def start_scheduler(self) -> Process:
        """What gives pods their node."""
        command = self._client_of_api_server("kube-scheduler", self._ports.scheduler)
        return start("kube-scheduler", command, self.log("kube-scheduler"), {})

    def wait_until_ready(self, api_server: Process) -> None:
        """Returns when the API server may be used."""
        wait_for("ready", self.api.ready, START_SECONDS, api_server, self.log("kube-apiserver"))

    def node_certificates(self, node: str) -> tuple[Pair, Pair]:
        """What the kubelet shows to the API server, and what it shows to those who call it."""
        client = self._certificates.client(
            "kubelet-client", self.authority, user=f"system:node:{node}", group="system:nodes"
        )
        serving = self._certificates.server(
            f"kubelet-{self._node_address}", self.authority, [self._node_address, "127.0.0.1"], [node]
        )
        return client, serving

    def write_kubeconfig(self, path: Path, user: str, client: Pair) -> None:
        """A kubeconfig with everything in it, readable by its owner only."""
        text = KUBECONFIG.format(
            context=CONTEXT,
            server=self.server,
            user=user,
            authority=_base64(self.authority.certificate),
            certificate=_base64(client.certificate),
            key=_base64(client.key),
        )
        path.touch(mode=0o600)
        path.write_text(text)

    def log(self, program: str) -> Path:
        """Where a program writes what it has to say."""
        return self._directory / "logs" / f"{program}.log"

    def _private(self, name: str) -> Path:
        return self._directory / "certificates" / name

    def _client_of_api_server(self, name: str, port: int) -> list[str | Path]:
        kubeconfig = self._private(f"{name}.kubeconfig")
        return [
            self._binaries[name],
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            # There is one of each, and waiting for a lease left over from the last run costs fifteen seconds.
            "--leader-elect=false",
            f"--kube-api-qps={CONTROLLER_QPS}",
            f"--kube-api-burst={CONTROLLER_BURST}",
            "--v=1",
        ]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
