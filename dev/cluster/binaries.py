"""Where a cluster's programs come from: KUBEBUILDER_ASSETS, this repository's pinned Go module, Debian packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.build import BuildError, bin_dir, build, go_mod
from dev.cluster.processes import ClusterError

MODULE = Path(__file__).resolve().parent
KUBERNETES = ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet")
CONTROL_PLANE = ("kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler")

# Program (or folder) to the Debian package that has it.
CONTROL_PLANE_PACKAGES = {"etcd": "etcd-server", "openssl": "openssl"}
NODE_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "busybox": "busybox-static",
    "mount": "mount",
    "ip": "iproute2",
}
CNI_PACKAGE = "containernetworking-plugins"
# Where Debian puts the CNI plugins, then where everybody else does.
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Binaries:
    """Paths by program name. What is absent is not run: envtest's assets have no scheduler, for example."""

    folder: Path
    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]

    def __contains__(self, name: str) -> bool:
        return name in self.paths


def assets() -> Path | None:
    """The folder that KUBEBUILDER_ASSETS names, as controller-runtime's envtest understands it."""
    configured = os.environ.get("KUBEBUILDER_ASSETS")
    if not configured:
        return None
    folder = Path(configured).resolve()
    for name in ("etcd", "kube-apiserver", "kubectl"):
        if not os.access(folder / name, os.X_OK):
            raise ClusterError(f"KUBEBUILDER_ASSETS={configured}: no {name} there; unset it, or run setup-envtest")
    return folder


def assets_without_node() -> Path | None:
    """KUBEBUILDER_ASSETS, when it is set and lacks what a node needs.

    A kubelet needs the scheduler and the controllers to be of any use; envtest has none of the three.
    """
    given = assets()
    if given is None or all(os.access(given / name, os.X_OK) for name in KUBERNETES):
        return None
    return given


def prepare(*, with_node: bool) -> Binaries:
    """Finds, installs or builds everything that a cluster needs."""
    given = assets()
    if given is not None:
        return _from_assets(given, with_node=with_node)
    needed = {**CONTROL_PLANE_PACKAGES, **(NODE_PACKAGES if with_node else {})}
    _install(needed, with_cni=with_node)
    programs = KUBERNETES if with_node else CONTROL_PLANE
    folder = kubernetes(programs)
    paths = {name: folder / name for name in programs}
    return Binaries(folder, {**paths, **_found(needed)})


def kubernetes(programs: Sequence[str] = KUBERNETES) -> Path:
    """The folder with Kubernetes' programs, built when they are not there yet."""
    try:
        return build(MODULE, {name: f"k8s.io/kubernetes/cmd/{name}" for name in programs}, ldflags=_version_flags())
    except BuildError as error:
        raise ClusterError(str(error)) from error


def kubectl() -> Path:
    """A kubectl, without building one where any is at hand: for clusters that are not ours."""
    given = assets()
    if given is not None:
        return given / "kubectl"
    if shutil.which("go"):
        built = bin_dir(MODULE, ldflags=_version_flags()) / "kubectl"
        if built.exists():
            return built
    found = shutil.which("kubectl")
    return Path(found) if found else kubernetes(["kubectl"]) / "kubectl"


def cni_folder() -> Path:
    """Where the plugins lie that connect a pod to its network."""
    for folder in CNI_FOLDERS:
        if (folder / "bridge").exists():
            return folder
    raise ClusterError(f"no CNI plugins in {' or '.join(map(str, CNI_FOLDERS))}; install {CNI_PACKAGE}")


def _version_flags() -> str:
    """The version that the programs report. Kubernetes' own build stamps it the same way, into both packages."""
    version = go_mod(MODULE).versions["k8s.io/kubernetes"]
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def _from_assets(folder: Path, *, with_node: bool) -> Binaries:
    paths = {name: folder / name for name in ("etcd", *KUBERNETES) if os.access(folder / name, os.X_OK)}
    needed = {"openssl": "openssl", **(NODE_PACKAGES if with_node else {})}
    _install(needed, with_cni=with_node)
    if not with_node:
        paths.pop("kubelet", None)
    return Binaries(folder, {**paths, **_found(needed)})


def _found(programs: Mapping[str, str]) -> dict[str, Path]:
    found = {name: shutil.which(name, path=_search_path()) for name in programs}
    return {name: Path(path) for name, path in found.items() if path is not None}


def _search_path() -> str:
    # A user's PATH often lacks the sbin folders.
    return f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}"


def _install(programs: Mapping[str, str], *, with_cni: bool) -> None:
    absent = sorted({package for name, package in programs.items() if name not in _found(programs)})
    if with_cni and not any((folder / "bridge").exists() for folder in CNI_FOLDERS):
        absent.append(CNI_PACKAGE)
    if not absent:
        return
    command = f"apt-get install --no-install-recommends {' '.join(absent)}"
    if shutil.which("apt-get") is None:
        raise ClusterError(f"missing on this machine: {', '.join(absent)} (Debian's names); install them and try again")
    if os.geteuid() != 0:
        raise ClusterError(f"missing on this machine: {', '.join(absent)}; run: sudo {command}")
    print(f"installing {', '.join(absent)}: {command}", file=sys.stderr, flush=True)
    # Debian starts what it installs; RUNLEVEL=1 makes invoke-rc.d leave a second etcd and containerd alone.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *absent]):
        result = subprocess.run(["apt-get", "-q", *arguments], capture_output=True, text=True, env=environment)
        if result.returncode != 0:
            raise ClusterError(f"apt-get {' '.join(arguments)} failed: {result.stderr.strip()}; run it by hand")
