"""What kubectl shows of the same objects is the same, asked directly or through a gate that allows everything.

Both sides read one namespace, so that names, uids and revisions are equal by themselves and only clocks differ.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from tests.e2e.gate import Cluster
from tests.e2e.kubectl import Kubectl, Ran, normal
from tests.e2e.workloads import configmap, container, deployment, pod, service, yaml_of

READY_SECONDS = 90
CHATTY = "for i in $(seq 1 300); do echo line $i of the log; done; echo to stderr >&2; " + (
    "trap 'exit 0' TERM; sleep 3600 & wait"
)

# One kubectl call a line, as typed. `{image}` and `{node}` are the cluster's.
CALLS = r"""
get pods
get pods -o wide
get pods -o yaml
get pods -o json
get pods -o name
get pods -o jsonpath='{.items[*].metadata.name}'
get pods -o jsonpath-as-json='{.items[*].spec.containers[*].image}'
get pods -o go-template='{{range .items}}{{.metadata.name}}{{"\n"}}{{end}}'
get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,PHASE:.status.phase
get pods -o yaml --show-managed-fields
get pods -o kyaml
get pods --show-labels
get pods --show-kind
get pods --no-headers
get pods -L app
get pods --sort-by=.metadata.name
get pods --sort-by=.metadata.creationTimestamp
get pods -l app=web
get pods -l 'app in (web,talker),app!=talker'
get pods -l app=nobody
get pods -A -l seed={namespace}
get pods --field-selector=status.phase=Running
get pods --field-selector=metadata.name=talker
get pods --field-selector=spec.colour=blue
get pods --server-print=false
get pods talker web-does-not-exist
get pods talker --ignore-not-found
get pod/talker service/web -o name
get configmaps --chunk-size=2 -l app=config
get configmaps --chunk-size=1 -o name -l app=config
get configmaps -o yaml
get configmap cm-1 -o jsonpath='{.data}'
get secrets
get secret token -o yaml
get all
get deployments,services,configmaps
get deployment web --subresource=status -o yaml
get deployment web --subresource=scale -o yaml
get serviceaccounts
get roles
get nodes {node} -o name
get nodes {node} --show-labels
get namespaces {namespace}
get namespaces {namespace} -o yaml
get storageclasses
get nonsense
get nonsense.example.com
get pods.v1.nonsense
get pods does-not-exist
get pods -n namespace-that-is-not-there
get pods/talker -o nonsense
get pods -l '=='
get --raw /version
get --raw /healthz
get --raw /livez/ping
get --raw /api
get --raw /apis
get --raw /api/v1
get --raw /apis/apps/v1
get --raw /openapi/v3
get --raw /openapi/v3/apis/apps/v1
get --raw /api/v1/namespaces/{namespace}/pods/talker
get --raw '/api/v1/namespaces/{namespace}/configmaps?labelSelector=app%3Dconfig,rank+in+(1,2)&limit=1'
get --raw /api/v1/namespaces/{namespace}/pods/does-not-exist
get --raw /apis/nonsense.example.com/v1
get --raw /nonsense
get --raw /api/v1/namespaces/{namespace}/pods/talker/log?tailLines=3
describe pod talker
describe pods -l app=web
describe deployment web
describe service web
describe configmap cm-1
describe secret token
describe namespace {namespace}
describe pod does-not-exist
explain pods
explain pods.spec.containers.resources
explain deployments.spec.strategy --recursive
explain deployments --api-version=apps/v1
explain pods --output=plaintext-openapiv2
explain pods.nonsense
explain nonsense
api-versions
api-resources
api-resources --namespaced=false -o wide
api-resources --api-group=apps -o name
auth can-i create pods
auth can-i get pods --subresource=log
auth can-i delete nodes
auth can-i '*' '*'
auth can-i get /metrics
auth can-i get nonsense
auth can-i list pods -A
version
version -o yaml
cluster-info
logs talker
logs talker --tail=5
logs talker --tail=0
logs talker --limit-bytes=100
logs talker --timestamps --tail=3
logs talker --since=1h --tail=2
logs talker --previous
logs talker -c nonsense
logs two -c second
logs two --all-containers --prefix
logs -l app=talker --tail=2
logs deployment/web
logs does-not-exist
top pods
top nodes
events --for=pod/talker --types=Normal
rollout status deployment/web
rollout history deployment/web
rollout history deployment/web --revision=1
rollout status deployment/does-not-exist
wait --for=condition=Available deployment/web --timeout=10s
wait --for=jsonpath='{.status.phase}'=Running pod/talker --timeout=10s
wait --for=delete pod/does-not-exist --timeout=10s
wait --for=condition=Nonsense pod/talker --timeout=1s
exec talker -- cat /etc/passwd
diff -f -
config view --minify -o jsonpath='{.clusters[0].cluster.insecure-skip-tls-verify}'
""".strip().splitlines()

# Documents that some calls read from their standard input.
STDIN = {"diff -f -": yaml_of(configmap("cm-1", colour="green"))}

# Output that is a set: kubectl or the server writes it in the order of a Go map, another one each time.
UNORDERED = re.compile(r"^(api-resources|auth can-i --list|logs two --all-containers|logs -l|describe|events)")


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, direct: Kubectl, new_namespace: Callable[[str], str]) -> str:
    """A namespace whose objects have come to rest."""
    name = new_namespace("reads")
    here = direct.within(name)
    second = container("second", cluster.image, "echo from the second; " + "sleep 3600 & wait")
    two = pod("two", cluster.image)
    two["spec"]["containers"].append(second)
    seeds = [
        pod("talker", cluster.image, CHATTY, labels={"seed": name}),
        two,
        deployment("web", cluster.image, replicas=2),
        service("web", 8080),
        *(configmap(f"cm-{number}", colour="red", number=str(number)) for number in range(1, 6)),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"password": "hunter2"}},
    ]
    here.must("apply", "-f", "-", stdin=yaml_of(*seeds))
    here.must("rollout", "status", "deployment/web", f"--timeout={READY_SECONDS}s")
    here.must("wait", "--for=condition=Ready", "pod/talker", "pod/two", f"--timeout={READY_SECONDS}s")
    return name


def comparable(call: str, ran: Ran) -> tuple[int, list[str], list[str]]:
    out, err = normal(ran.out).splitlines(), normal(ran.err).splitlines()
    if UNORDERED.match(call):
        out.sort()
    return ran.code, out, err


@pytest.mark.parametrize("call", CALLS)
def test_kubectl_reads_the_same_through_the_gate(
    call: str, cluster: Cluster, direct: Kubectl, through: Kubectl, namespace: str
) -> None:
    filled = call.replace("{namespace}", namespace).replace("{node}", cluster.node)
    arguments = shlex.split(filled)
    stdin = STDIN.get(call, b"")

    expected = direct.within(namespace)(*arguments, stdin=stdin)
    found = through.within(namespace)(*arguments, stdin=stdin)

    assert comparable(call, found) == comparable(call, expected)


def test_who_am_i_is_answered_through_the_gate_as_by_the_server(direct: Kubectl, through: Kubectl) -> None:
    # The gate may say who the agent is rather than whose credential it used; the shape and the exit code are kubectl's.
    expected, found = direct("auth", "whoami"), through("auth", "whoami")

    assert (found.code, found.err) == (expected.code, expected.err)
    assert found.out.splitlines()[0].split() == [b"ATTRIBUTE", b"VALUE"]
    assert b"Username" in found.out


def test_the_list_of_what_i_may_do_is_the_clusters_own_under_allow_all(
    direct: Kubectl, through: Kubectl, namespace: str
) -> None:
    expected = direct.within(namespace)("auth", "can-i", "--list")
    found = through.within(namespace)("auth", "can-i", "--list")

    assert found.code == expected.code == 0
    # Rules are a set, in columns as wide as their widest cell. The gate's own rules (discovery, reviews) may be listed
    # beside the cluster's: they say nothing that `*` does not say.
    rules_found = {" ".join(line.split()) for line in normal(found.out).splitlines()}
    rules_expected = {" ".join(line.split()) for line in normal(expected.out).splitlines()}
    assert rules_expected <= rules_found
    assert "*.* [] [] [*]" in rules_found
