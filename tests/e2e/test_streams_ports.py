"""Forwarded ports, followed logs, watches and kubectl's own proxy through the gate.

Forwarding runs with both protocols that kubectl speaks: SPDY inside WebSocket messages, and SPDY/3.1.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from dev.cluster.processes import free_ports
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import TRANSPORTS, Kubectl
from tests.e2e.terminal import MEBIBYTE, SILENCE_SECONDS, eventually, noise
from tests.e2e.workloads import SLEEP, pod, yaml_of

READY_SECONDS = 90
# Longer than the gate gives a caller to send its headers when tests ask it to be strict.
QUIET_SECONDS = 6.0
LINES = 100_000


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    """A namespace with the pods that the streams end at."""
    name = new_namespace("ports")
    here = direct.within(name)
    clock = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"
    here.must("apply", "-f", "-", stdin=yaml_of(pod("shell", cluster.image), pod("clock", cluster.image, clock)))
    here.must("wait", "--for=condition=Ready", "pod/shell", "pod/clock", f"--timeout={READY_SECONDS}s")
    return name


@pytest.fixture(scope="module", params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(through: Kubectl, namespace: str, transport: str) -> Kubectl:
    """Kubectl through the gate, in the namespace of the pods, speaking one of the two protocols."""
    return through.within(namespace).using(TRANSPORTS[transport])


@contextmanager
def listening_in_pod(here: Kubectl) -> Iterator[list[int]]:
    """Two web servers in the pod, on loopback, for the time of a test; `/cgi-bin/back` says back what it is sent."""
    ports = free_ports(2)
    script = f"""
        mkdir -p /www/cgi-bin; echo served > /www/index.html
        printf '#!/bin/sh\\necho; exec head -c $CONTENT_LENGTH\\n' > /www/cgi-bin/back; chmod +x /www/cgi-bin/back
        httpd -f -p 127.0.0.1:{ports[0]} -h /www & one=$!
        httpd -f -p 127.0.0.1:{ports[1]} -h /www & two=$!
        echo listening; cat; kill $one $two; echo ended
    """
    process = here.start("exec", "-i", "shell", "-c", "main", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    try:
        yield ports
    finally:
        # The end of the input ends the servers: nothing stays behind on the node's own network.
        said, _ = process.communicate(timeout=SILENCE_SECONDS)
    assert said == b"ended\n"


@contextmanager
def forwarded(here: Kubectl, *ports: int, target: str = "pod/shell") -> Iterator[list[int]]:
    """Kubectl port-forward to the given ports, and the local ports it chose, in their order."""
    process = here.start("port-forward", "--address=127.0.0.1", target, *(f":{port}" for port in ports))
    assert process.stdout is not None
    local: list[int] = []
    try:
        while len(local) < len(ports):
            line = process.stdout.readline().decode()
            if not line:
                raise AssertionError("port-forward ended before it listened")
            if found := re.search(r"127\.0\.0\.1:(\d+) ->", line):
                local.append(int(found[1]))
        yield local
    finally:
        process.terminate()
        process.communicate()


def test_several_ports_are_forwarded_at_once_for_many_connections(here: Kubectl) -> None:
    with listening_in_pod(here) as ports, forwarded(here, *ports) as (one, other):
        # One connection after the other, then several at a time.
        assert [fetch(one), fetch(other), fetch(one)] == [b"served\n"] * 3
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(fetch, [one, other] * 4))
        assert answers == [b"served\n"] * 8


def test_a_forwarded_port_carries_megabytes_both_ways(here: Kubectl) -> None:
    data = noise(MEBIBYTE, seed=5)
    with listening_in_pod(here) as ports, forwarded(here, ports[0]) as (local,):
        connection = http.client.HTTPConnection("127.0.0.1", local, timeout=SILENCE_SECONDS)
        connection.request("POST", "/cgi-bin/back", body=data)
        back = connection.getresponse().read()
        connection.close()

    assert hashlib.sha256(back).hexdigest() == hashlib.sha256(data).hexdigest()


def test_a_forwarded_connection_stays_open_while_nobody_speaks(here: Kubectl) -> None:
    head = b"POST /cgi-bin/back HTTP/1.1\r\nHost: pod\r\nContent-Length: 10\r\n\r\n"
    with (
        listening_in_pod(here) as ports,
        forwarded(here, ports[0]) as (local,),
        socket.create_connection(("127.0.0.1", local), timeout=SILENCE_SECONDS) as connection,
    ):
        connection.sendall(head + b"first")
        # An upgraded connection has no timeout for slow callers.
        time.sleep(QUIET_SECONDS)
        connection.sendall(b"later")
        answer = b""
        while part := connection.recv(65536):
            answer += part

    assert answer.endswith(b"firstlater")


def test_a_port_where_nobody_listens_fails_one_connection_and_is_named(here: Kubectl) -> None:
    (dead,) = free_ports(1)
    with forwarded(here, dead) as (local,):
        assert fetch(local) == b""


# --- logs, watches, proxy ---


def test_logs_follow_while_they_are_written(through: Kubectl, namespace: str) -> None:
    process = through.within(namespace).start("logs", "-f", "clock", "--tail=1")
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline().decode() for _ in range(6)]
    finally:
        process.kill()
        process.communicate()

    numbers = [int(line.removeprefix("tick ")) for line in lines]
    assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_logs_follow_to_the_end_of_the_container(through: Kubectl, cluster: Cluster, namespace: str) -> None:
    here = through.within(namespace)
    script = "for i in 1 2 3; do echo part $i; sleep 0.5; done"
    here.must("create", "-f", "-", stdin=yaml_of(pod("ending", cluster.image, script, restartPolicy="Never")))
    here.must("wait", "--for=condition=PodReadyToStartContainers", "pod/ending", f"--timeout={READY_SECONDS}s")

    def followed() -> bytes:
        return here("logs", "-f", "ending").out

    assert eventually(lambda: followed() == b"part 1\npart 2\npart 3\n")
    here("delete", "pod", "ending", "--wait=false")


def test_a_long_log_arrives_whole(through: Kubectl, direct: Kubectl, cluster: Cluster, namespace: str) -> None:
    here = through.within(namespace)
    # Below the size at which the kubelet begins a new file and shows no more of this one.
    script = f"seq 1 {LINES}; " + SLEEP
    here.must("create", "-f", "-", stdin=yaml_of(pod("verbose", cluster.image, script)))
    here.must("wait", "--for=condition=Ready", "pod/verbose", f"--timeout={READY_SECONDS}s")
    expected = "".join(f"{number}\n" for number in range(1, LINES + 1)).encode()

    assert eventually(lambda: direct.within(namespace)("logs", "verbose").out == expected)
    assert here("logs", "verbose").out == expected


def test_a_watch_shows_changes_in_their_order(through: Kubectl, direct: Kubectl, namespace: str) -> None:
    here, outside = through.within(namespace), direct.within(namespace)
    outside.must("create", "configmap", "watched", "--from-literal=step=0")
    columns = "custom-columns=STEP:.data.step"
    process = here.start("get", "configmaps", "watched", "--watch", "--no-headers", "-o", columns)
    assert process.stdout is not None
    try:
        seen = [process.stdout.readline().strip()]
        for step in range(1, 4):
            outside.must("patch", "configmap", "watched", "--type=merge", "-p", f'{{"data":{{"step":"{step}"}}}}')
            seen.append(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()

    assert seen == [b"0", b"1", b"2", b"3"]
    outside.must("delete", "configmap", "watched")


def test_a_watch_in_wide_tables_and_with_events_ends_when_it_is_told_to(through: Kubectl, namespace: str) -> None:
    ran = through.within(namespace)(
        "get", "pods", "shell", "--watch", "--output-watch-events", "-o", "wide", "--request-timeout=3s"
    )

    lines = ran.out.decode().splitlines()
    assert lines[0].split()[:2] == ["EVENT", "NAME"]
    assert lines[1].split()[:2] == ["ADDED", "shell"]


def test_kubectl_proxy_serves_the_cluster_behind_the_gate(through: Kubectl, namespace: str) -> None:
    process = through.start("proxy", "--port=0")
    assert process.stdout is not None
    try:
        announced = process.stdout.readline().decode()
        port = int(announced.rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS)
        connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/shell")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    finally:
        process.terminate()
        process.communicate()

    assert answer.status == 200
    assert b'"name":"shell"' in body.replace(b'": "', b'":"')


def test_a_pods_own_http_is_reached_by_the_servers_proxy(through: Kubectl, direct: Kubectl, namespace: str) -> None:
    # The API server's proxy refuses loopback addresses, which every pod of this cluster has: the same words both ways.
    path = f"/api/v1/namespaces/{namespace}/pods/shell:8080/proxy/some/path/"

    found, expected = through("get", "--raw", path), direct("get", "--raw", path)

    assert (found.code, found.out, found.err) == (expected.code, expected.out, expected.err)


def fetch(port: int) -> bytes:
    """The body of an HTTP page, or nothing where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SILENCE_SECONDS)
    try:
        connection.request("GET", "/index.html")
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()
