"""`narrowgate clusters bundle`: a namespace of agents, whose pods find the gate where clients look for a cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import yaml

from narrowgate.cli.failure import Failed
from narrowgate.cli.output import config_option, note, output_option, write_json

if TYPE_CHECKING:
    from narrowgate.config import Config
    from narrowgate.core.agent_bundle import PodPlace, Way

DNS_PODS = "kube-system/k8s-app=kube-dns"
"""Where CoreDNS runs in nearly every cluster: the label is that of the DNS addon in k8s.io/kubernetes."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9./_-]{1,317})=([A-Za-z0-9._-]{0,63})")


@click.command()
@click.argument("name", metavar="CLUSTER")
@click.option("--namespace", required=True, metavar="NS", help="The namespace of agents; made, if it is not there.")
@click.option("--service-account", "account", default="agent", show_default=True, metavar="NAME")
@click.option(
    "--gate-address", default="", metavar="HOST:PORT", help="What pods call the gate by (default: as it is configured)."
)
@click.option("--gate-cidr", multiple=True, metavar="CIDR", help="The gate's address for network policies.")
@click.option(
    "--gate-pods", multiple=True, metavar="NS/KEY=VALUE,...", help="Instead: the gate's pods, where it runs in there."
)
@click.option(
    "--gate-port", type=int, metavar="PORT", help="Where the gate listens, behind a Service with another port."
)
@click.option("--dns-pods", multiple=True, default=(DNS_PODS,), show_default=True, metavar="NS/KEY=VALUE,...")
@click.option(
    "--dns-cidr", multiple=True, metavar="CIDR", help="Name servers that are no pods (169.254.20.10/32, ...)."
)
@click.option("--no-dns", is_flag=True, help="Let pods ask nobody for names: for a gate that is called by address.")
@click.option("--level", type=click.Choice(["restricted", "baseline"]), default="restricted", show_default=True)
@click.option("--certificate-authority", type=click.Path(path_type=Path), metavar="FILE", help="CA, if not the gate's.")
@click.option("--image", default="", metavar="IMAGE", help="Image of the template's container.")
@click.option(
    "--admission",
    type=click.Choice(["refuse", "inject"]),
    help="Have the API server refuse other tokens there (1.30), or give each pod what it needs as well (1.36).",
)
@click.option(
    "--patch", "patched", multiple=True, metavar="CONTAINER", help="Print what a workload there needs, instead."
)
@config_option
@output_option
def bundle(name: str, namespace: str, config: str | None, output: str, **options: Any) -> None:
    """Print a namespace of agents for `kubectl apply --server-side -f -`: its pods find the gate where others find the
    API server.

    Accounts without a token for the API server, the gate's address and CA with a kubeconfig, a network policy that
    leaves the gate and name servers, a template of a pod. With --patch CONTAINER: a patch for `kubectl patch
    deployment NAME --patch-file /dev/stdin` that does the same to a workload. Nothing printed is a secret.
    """
    from narrowgate.config import find_config, gate_keys
    from narrowgate.core.agent_admission import injecting, refusing
    from narrowgate.core.agent_bundle import Bundle, bundle_objects, template_patch

    found = find_config(config)
    for value, option in ((namespace, "--namespace"), (options["account"], "--service-account")):
        if not _NAME.fullmatch(value):
            raise click.BadParameter(f"{value!r} is no name of Kubernetes", param_hint=option)
    made = Bundle(
        cluster=name,
        namespace=namespace,
        account=options["account"],
        audience=_audience(found, name),
        authority=_authority(options["certificate_authority"], gate_keys(found).ca_pem),
        way=_way(found, options),
        level=options["level"],
        **({"image": options["image"]} if options["image"] else {}),
    )
    if options["patched"]:
        patch = template_patch(made, options["patched"])
        write_json(patch) if output == "json" else click.echo(yaml.safe_dump(patch, sort_keys=False), nl=False)
        return
    objects = (
        *bundle_objects(made),
        *(refusing(made) if options["admission"] else ()),
        *(injecting(made) if options["admission"] == "inject" else ()),
    )
    if output == "json":
        write_json({"apiVersion": "v1", "kind": "List", "items": objects})
    else:
        click.echo(yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True), nl=False)
    if not _is_certified(gate_keys(found).certificate_path, made.way.host):
        note(f"# the gate's certificate is not for {made.way.host}: add it to tls.names, and start the gate again")
    note(f"# policies call its pods: {{kind: ServiceAccount, name: {namespace}/{made.account}}}")
    note(f"# when pods run there: narrowgate doctor --namespace {namespace} --cluster {name}")


def _audience(config: Config, name: str) -> str:
    """What the gate demands of this cluster's tokens. Raises Failed where it takes none."""
    known = [cluster.name for cluster in config.clusters]
    if name not in known:
        raise Failed(f'no cluster "{name}"', str(config.path), f"registered are: {', '.join(known) or 'none'}")
    rules = config.authentication.service_accounts
    if rules is None or name not in rules.clusters:
        raise Failed(
            f"the gate takes no tokens of pods of {name}",
            str(config.path),
            "write `authentication: {serviceAccounts: {}}` into it, and start the gate again",
        )
    return rules.audience


def _authority(file: Path | None, of_gate: bytes) -> str:
    from narrowgate.cli.gate_address import authority_of

    if file is not None:
        return authority_of("", file=file, fingerprint="", config=None)
    if not of_gate:
        raise Failed(
            "the gate's certificate is from a CA that the configuration does not have",
            "tls.certificateAuthority",
            "name that CA's PEM file with --certificate-authority: pods have no other way to know it",
        )
    return of_gate.decode("ascii")


def _is_certified(path: Path, host: str) -> bool:
    """Whether clients will take the gate's certificate for this host (RFC 9525: names of the certificate alone)."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    wildcard = f"*.{host.partition('.')[2]}"
    return host.lower() in dns or wildcard.lower() in dns or host in addresses


def _way(config: Config, options: dict[str, Any]) -> Way:
    from narrowgate.core.agent_bundle import Way, as_network, is_this_machine

    host, port = _address(config, options["gate_address"])
    if is_this_machine(host):
        raise Failed(
            f"pods cannot reach the gate at {host}", "listen.kubernetes", "say how they do, with --gate-address"
        )
    to: list[str | PodPlace] = [_network(one, "--gate-cidr") for one in options["gate_cidr"]]
    to += [_pods(one, "--gate-pods") for one in options["gate_pods"]]
    if not to:
        if not as_network(host):
            raise Failed(
                f"no network policy can be about a name like {host}",
                "--gate-address",
                "say what is behind it: --gate-cidr ADDRESS/32, or --gate-pods NAMESPACE/KEY=VALUE",
            )
        to = [as_network(host)]
    if options["no_dns"] and not as_network(host):
        raise click.UsageError(f"--no-dns goes with a gate that is called by its address, not by {host}")
    dns: list[str | PodPlace] = [_network(one, "--dns-cidr") for one in options["dns_cidr"]]
    dns += [_pods(one, "--dns-pods") for one in options["dns_pods"]]
    return Way(
        host=host,
        port=port,
        to=tuple(to),
        to_port=options["gate_port"] or port,
        dns=() if options["no_dns"] else tuple(dns),
    )


def _address(config: Config, given: str) -> tuple[str, int]:
    from narrowgate.config import kubeconfig_server

    url = f"https://{given}" if given else kubeconfig_server(config)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        host, port = "", 0
    if not host or parts.path or parts.query or "@" in given:
        raise click.BadParameter(f"{given!r} is not HOST:PORT", param_hint="--gate-address")
    return host, port


def _network(text: str, option: str) -> str:
    from narrowgate.core.agent_bundle import as_network

    if not (network := as_network(text)):
        raise click.BadParameter(f"{text!r} is no network like 10.0.0.5/32", param_hint=option)
    return network


def _pods(text: str, option: str) -> PodPlace:
    from narrowgate.core.agent_bundle import PodPlace

    namespace, _, labels = text.partition("/")
    pairs = [_LABEL.fullmatch(one) for one in labels.split(",")]
    if not _NAME.fullmatch(namespace) or not all(pairs):
        raise click.BadParameter(f"{text!r} is not NAMESPACE/KEY=VALUE[,KEY=VALUE]", param_hint=option)
    return PodPlace(namespace, tuple((pair[1], pair[2]) for pair in pairs if pair))
