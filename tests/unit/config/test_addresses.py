"""What the gate calls itself: where it listens, or by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from narrowgate.config import Config, ConfigError, control_url, kubeconfig_server, kubernetes_url, parse_config

HEAD = "apiVersion: narrowgate.dev/v1alpha1\nkind: Config\n"


def config(text: str) -> Config:
    return parse_config(HEAD + text, Path("/srv/gate/narrowgate.yaml"))


def test_a_gate_is_called_by_where_it_listens() -> None:
    found = config("listen: {kubernetes: '192.0.2.7:8443', control: '[2001:db8::1]:9444'}\n")
    assert (kubernetes_url(found), control_url(found)) == ("https://192.0.2.7:8443", "https://[2001:db8::1]:9444")
    assert kubeconfig_server(found) == "https://192.0.2.7:8443"


def test_one_that_listens_everywhere_is_called_by_its_first_name() -> None:
    found = config(
        "listen: {kubernetes: '0.0.0.0:8443', control: '[::]:8444'}\ntls: {names: ['*.corp', gate.corp, other.corp]}\n"
    )
    assert kubeconfig_server(found) == kubernetes_url(found) == "https://gate.corp:8443"
    assert control_url(found) == "https://gate.corp:8444"


def test_what_the_operator_wrote_comes_first() -> None:
    assert control_url(config("control: {url: 'https://gate.corp'}\n")) == "https://gate.corp"


def test_a_file_for_elsewhere_needs_an_address_that_is_one() -> None:
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0 is no address to call, .*: give --server, or add"):
        kubeconfig_server(config("listen: {kubernetes: '0.0.0.0:8443'}\n"))
    with pytest.raises(ConfigError, match="port 0 is chosen at each start"):
        kubeconfig_server(config("listen: {kubernetes: '127.0.0.1:0'}\n"))
