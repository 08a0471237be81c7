"""nginx as a plain TLS proxy: as fast as proxying gets, and nothing but proxying."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from dev.cluster.processes import free_ports

from bench.contenders.contender import Contender, Running, Stage, program
from bench.failure import BenchFailure

PACKAGE = "nginx-light"
# Debian keeps it where ordinary users do not look.
PLACES = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
# nginx compares names only with DNS names of a certificate; every API server has this one.
SERVER_NAME = "kubernetes.default.svc"
# Connections on both sides of 1,000 watches, with room.
CONNECTIONS = 8192

CONFIGURATION = """
daemon off;
worker_processes auto;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 100000000;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    upstream kubernetes {{
        server {upstream};
        keepalive {connections};
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass https://kubernetes;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 4 32k;
            proxy_read_timeout 1h;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_ssl_certificate {client_certificate};
            proxy_ssl_certificate_key {client_key};
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_verify on;
            proxy_ssl_name {server_name};
        }}
    }}
}}
"""


@contextmanager
def _start(stage: Stage) -> Iterator[Running]:
    folder = stage.folder / "nginx"
    folder.mkdir(exist_ok=True)
    (port,) = free_ports(1)
    cluster = stage.cluster
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            files=4 * CONNECTIONS,
            connections=CONNECTIONS,
            upstream=urlsplit(cluster.server).netloc,
            port=port,
            certificate=stage.certificate,
            key=stage.key,
            client_certificate=cluster.certificate,
            client_key=cluster.key,
            authority=cluster.authority,
            server_name=SERVER_NAME,
        )
    )
    command: list[str | Path] = [_nginx(), "-p", folder, "-c", configuration, "-e", "stderr"]
    with program("nginx", command, stage.folder, stage.served(port)) as running:
        yield running


def _nginx() -> Path:
    found = shutil.which("nginx", path=PLACES)
    if found is None:
        _install()
        found = shutil.which("nginx", path=PLACES)
    if found is None:
        raise BenchFailure(f"nginx is not installed; install it (Debian: {PACKAGE}) or leave it out with --contenders")
    return Path(found)


def _install() -> None:
    """As root on Debian: installs the package without starting a server of its own. Elsewhere: does nothing."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    command = ["apt-get", "-q", "install", "-y", "--no-install-recommends", PACKAGE]
    print(f"installing {PACKAGE}: {' '.join(command)}", file=sys.stderr, flush=True)
    # RUNLEVEL=1 keeps invoke-rc.d from starting what was installed.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "-q", "update"], env=environment, capture_output=True, check=False)
    subprocess.run(command, env=environment, capture_output=True, check=False)


NGINX = Contender("nginx", "nginx as a plain TLS proxy, one worker per core, unbuffered, keep-alive upstream", _start)
