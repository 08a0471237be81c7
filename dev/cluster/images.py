"""Container images without a registry and without a builder: a docker-archive is a tar file of tar files.

Every image is one layer: busybox with a link for each of its applets, a few files of /etc, and what is added to it.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.cluster.processes import ClusterError

BUSYBOX_IMAGE = "local/busybox:1"
# What containerd runs to hold a pod's namespaces; it has only to stay. See sandbox_image in node.py.
PAUSE_IMAGE = "local/pause:1"

ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
FOLDERS = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "proc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}


def busybox_archive(busybox: Path) -> bytes:
    """The image that test pods run: a shell, tar (kubectl cp needs it), httpd, nc and the rest of busybox."""
    return archive(BUSYBOX_IMAGE, _busybox_layer(busybox, {}), ["/bin/sh"])


def pause_archive(busybox: Path) -> bytes:
    """The image behind every pod: it sleeps for as long as a busybox can."""
    return archive(PAUSE_IMAGE, _busybox_layer(busybox, {}), ["/bin/sleep", "2147483647"])


def archive_with(image: str, busybox: Path, files: Sequence[Path]) -> bytes:
    """Busybox and the given programs in /bin; the first is what the image runs."""
    added = {f"bin/{path.name}": path.read_bytes() for path in files}
    return archive(image, _busybox_layer(busybox, added), [f"/bin/{files[0].name}"])


def archive(image: str, layer: bytes, command: Sequence[str]) -> bytes:
    """A docker-archive, as `docker save` writes it and `ctr images import` reads it."""
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Cmd": list(command), "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "narrowgate dev/cluster/images.py"}],
    }
    config_bytes = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [image], "Layers": ["layer.tar"]}]
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as tar:
        _add_file(tar, "layer.tar", layer, 0o644)
        _add_file(tar, config_name, config_bytes, 0o644)
        _add_file(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    return result.getvalue()


def _busybox_layer(busybox: Path, added: Mapping[str, bytes]) -> bytes:
    listing = subprocess.run([busybox, "--list"], capture_output=True, text=True)
    if listing.returncode != 0:
        raise ClusterError(f"{busybox} --list failed; install busybox-static")
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as tar:
        for name, mode in FOLDERS.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        _add_file(tar, "bin/busybox", busybox.read_bytes(), 0o755)
        for applet in sorted(set(listing.stdout.split()) - {"busybox"}):
            if f"bin/{applet}" not in added:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name, text in ETC.items():
            _add_file(tar, name, text.encode(), 0o644)
        for name, content in added.items():
            _add_file(tar, name, content, 0o755)
    return result.getvalue()


def _add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    # Times stay zero, so that the same files always make the same image.
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
