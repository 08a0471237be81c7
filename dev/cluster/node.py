"""One node: containerd with a configuration of its own, the images, the kubelet.

The kubelet refuses a loopback address for its node, and the API server refuses to proxy to pods that have one. So the
node gets an address from a range reserved for documentation, on the loopback interface: no packet leaves the machine,
and yet everything that Kubernetes does with a pod's address works. Pods with hostNetwork have the node's address;
others get one on a bridge that leads nowhere but to this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.binaries import Binaries, cni_folder
from dev.cluster.certificates import Pair
from dev.cluster.control_plane import Ports
from dev.cluster.images import PAUSE_IMAGE, busybox_archive, pause_archive
from dev.cluster.processes import ClusterError, Process, children, command_lines, start, wait_for

NODE = "narrowgate-dev"
CONTAINERD_SECONDS = 30.0
READY_SECONDS = 90.0
# One address, bridge and pod range for each cluster on this machine: 198.51.100.0/24 is TEST-NET-2 (RFC 5737).
SLOTS = range(1, 255)

CONTAINERD_CONFIG = """\
version = 2
root = "{folder}/containerd"
state = "{run}/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # The machine may not let anybody lower an oom score, as containers and sandboxes do not; runc would fail.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  # Where the cleaning up finds them.
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni}"
  conf_dir = "{folder}/cni"
"""


@dataclass(frozen=True)
class Slot:
    """What sets this node apart from the nodes of other clusters on the same machine."""

    number: int

    @property
    def address(self) -> str:
        """The address of the node and of pods with hostNetwork."""
        return f"198.51.100.{self.number}"

    @property
    def bridge(self) -> str:
        """The network interface that the other pods hang on."""
        return f"ngdev{self.number}"

    @property
    def pods(self) -> str:
        """The other pods' addresses."""
        return f"10.244.{self.number}.0/24"

    @property
    def bridge_address(self) -> str:
        """What those pods reach this machine by."""
        return f"10.244.{self.number}.1/24"


def claim_slot(preferred: int | None) -> Slot:
    """A slot that no other cluster has: making its bridge succeeds for one of any number who try at once."""
    for number in [*([preferred] if preferred else []), *SLOTS]:
        slot = Slot(number)
        made = subprocess.run(["ip", "link", "add", slot.bridge, "type", "bridge"], capture_output=True, text=True)
        if made.returncode == 0:
            return slot
        if not _interface_exists(slot.bridge):
            raise ClusterError(f"no network bridge can be made for pods: {made.stderr.strip()} (it takes root)")
    raise ClusterError("all addresses for nodes (198.51.100.0/24) are taken; end clusters that are not needed")


def run_folder(directory: Path) -> Path:
    """Sockets and containers' states: a path that is short enough for a socket, and empty after a reboot."""
    return Path("/run") / f"narrowgate-dev-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"


class Node:
    """One cluster folder's node: what it reads, how its programs are started, how every trace of it is removed."""

    def __init__(self, directory: Path, slot: Slot) -> None:
        self._folder = directory / "node"
        self._logs = directory / "logs"
        self._run = run_folder(directory)
        self._slot = slot
        self.socket = self._run / "containerd.sock"

    def start_containerd(self, binaries: Binaries) -> Process:
        """The container runtime, apart from any other that this machine has."""
        self._connect()
        for folder in (self._folder, self._folder / "cni", self._run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        (self._folder / "cni" / "10-narrowgate-dev.conflist").write_text(json.dumps(self._network(), indent=2))
        configuration = self._folder / "containerd.toml"
        configuration.write_text(
            CONTAINERD_CONFIG.format(
                folder=self._folder,
                run=self._run,
                socket=self.socket,
                pause=PAUSE_IMAGE,
                snapshotter="overlayfs" if self._overlay_works() else "native",
                runc=binaries["runc"],
                cni=cni_folder(),
            )
        )
        return start("containerd", [binaries["containerd"], "--config", configuration], self.log("containerd"), {})

    def import_images(self, containerd: Process, binaries: Binaries) -> None:
        """Gives containerd the images that pods are made of, as soon as it answers."""

        def answers() -> bool:
            return self._ctr(binaries, "version").returncode == 0

        wait_for("answering", answers, CONTAINERD_SECONDS, containerd, self.log("containerd"))
        for image in (pause_archive(binaries["busybox"]), busybox_archive(binaries["busybox"])):
            self.import_image(binaries, image)

    def import_image(self, binaries: Binaries, archive: bytes) -> None:
        """Gives containerd one docker-archive."""
        result = self._ctr(binaries, "--namespace", "k8s.io", "images", "import", "-", content=archive)
        if result.returncode != 0:
            message = result.stderr.decode(errors="replace").strip()
            raise ClusterError(f"containerd does not take the image: {message}; see {self.log('containerd')}")

    def start_kubelet(self, binaries: Binaries, kubeconfig: Path, kubelet: KubeletFiles) -> Process:
        """What runs the pods that the scheduler assigns to this node."""
        configuration = self._folder / "kubelet.json"
        configuration.write_text(json.dumps(self._kubelet_configuration(kubelet), indent=2))
        command: list[str | Path] = [
            binaries["kubelet"],
            f"--config={configuration}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE}",
            f"--node-ip={self._slot.address}",
            f"--root-dir={self._folder / 'kubelet'}",
            f"--cert-dir={self._folder / 'kubelet-certificates'}",
            "--v=1",
        ]
        return start("kubelet", command, self.log("kubelet"), {})

    def log(self, program: str) -> Path:
        """Where a program writes what it has to say."""
        return self._logs / f"{program}.log"

    def remove_leftovers(self) -> None:
        """Ends containers that outlived their kubelet, and undoes mounts; what is not there is no matter.

        containerd's shims are told by the socket in their arguments, which no other containerd has. A container's first
        process is its shim's child, and with it ends every process of the container.
        """
        shims = [pid for pid, arguments in command_lines() if self._is_shim(arguments)]
        for pid in [child for shim in shims for child in children(shim)] + shims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._unmount()

    def remove_network(self) -> None:
        """Gives the slot back: its bridge and its address."""
        for command in (
            ["ip", "link", "delete", self._slot.bridge],
            ["ip", "address", "delete", f"{self._slot.address}/32", "dev", "lo"],
        ):
            subprocess.run(command, capture_output=True)

    def remove_files(self) -> None:
        """Forgets images, containers and volumes."""
        for folder in (self._folder, self._run):
            shutil.rmtree(folder, ignore_errors=True)

    def _connect(self) -> None:
        """The node's address on the loopback interface and the bridge of its pods."""
        if not _interface_exists(self._slot.bridge):
            _ip("link", "add", self._slot.bridge, "type", "bridge")
        _ip("address", "replace", self._slot.bridge_address, "dev", self._slot.bridge)
        _ip("link", "set", self._slot.bridge, "up")
        _ip("address", "replace", f"{self._slot.address}/32", "dev", "lo")

    def _network(self) -> dict[str, object]:
        """Pods reach each other and this machine. There is no default route: nothing of theirs leaves it."""
        ranges = [[{"subnet": self._slot.pods, "gateway": self._slot.bridge_address.partition("/")[0]}]]
        bridge = {
            "type": "bridge",
            "bridge": self._slot.bridge,
            "ipam": {"type": "host-local", "ranges": ranges, "dataDir": f"{self._run}/cni"},
        }
        return {"cniVersion": "0.4.0", "name": self._slot.bridge, "plugins": [bridge]}

    def _kubelet_configuration(self, files: KubeletFiles) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self._slot.address,
            "port": files.ports.kubelet,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": files.ports.kubelet_health,
            "readOnlyPort": 0,
            "tlsCertFile": str(files.serving.certificate),
            "tlsPrivateKeyFile": str(files.serving.key),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(files.authority)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "podLogsDir": str(self._folder / "pod-logs"),
            "volumePluginDir": str(self._folder / "volume-plugins"),
            "cgroupDriver": "cgroupfs",
            # Machines with the old hierarchy still exist, and a development cluster does not mind.
            "failCgroupV1": False,
            # Two kubelets on a machine would each remove the pod cgroups of the other.
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            # No iptables rules on a developer's machine.
            "makeIPTablesUtilChains": False,
            # A nearly full disk is a developer's normal state, and images cannot be pulled again: nothing is evicted.
            "evictionHard": {"memory.available": "32Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "maxPods": 250,
            "nodeStatusUpdateFrequency": "5s",
        }

    def _ctr(
        self, binaries: Binaries, *arguments: str, content: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [binaries["ctr"], "--address", self.socket, *arguments], input=content, capture_output=True
        )

    def _is_shim(self, arguments: Sequence[str]) -> bool:
        return Path(arguments[0]).name.startswith("containerd-shim") and str(self.socket) in arguments

    def _unmount(self) -> None:
        ours = (f"{self._folder}/", f"{self._run}/")
        lines = Path("/proc/self/mounts").read_text().splitlines()
        # Spaces in a mount point are written in octal.
        points = [line.split(" ")[1].replace("\\040", " ") for line in lines]
        for point in reversed([point for point in points if point.startswith(ours)]):
            subprocess.run(["umount", "--lazy", point], capture_output=True)

    def _overlay_works(self) -> bool:
        """Whether a layered mount is possible here: on another layered file system, as in a container, it is not."""
        folder = self._folder / "overlay-test"
        parts = {name: folder / name for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, parts["merged"]], capture_output=True
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", parts["merged"]], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
        return mounted.returncode == 0


@dataclass(frozen=True)
class KubeletFiles:
    """What the kubelet is given by the control plane."""

    authority: Path
    serving: Pair
    ports: Ports


def _interface_exists(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise ClusterError(f"ip {' '.join(arguments)} failed: {result.stderr.strip()}; the node needs it (run as root)")
