"""A server with its own certificate: the whole way over TLS, with a private CA, and what is said without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.e2e.support import Machine, ServerProcess, make_org
from tests.unit.wire_servers import Certificates


def test_whole_way_over_tls_with_a_private_ca(
    new_server: Callable[..., ServerProcess], new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    server = new_server({"STRONGHOLD_TLS_CERTIFICATE": certificates.own_file, "STRONGHOLD_TLS_KEY": certificates.key_file})
    assert server.url.startswith("https://")
    machine = new_machine()
    machine.always["STRONGHOLD_CA_FILE"] = certificates.ca_file
    org = make_org(machine, server)
    token = org.make_agent("CI", {"production": {"KEY": "value"}})
    elsewhere = new_machine(user="runner")
    arguments = ("env", "pull", "--profile", "production")
    for variable in ("STRONGHOLD_CA_FILE", "SSL_CERT_FILE"):
        pulled = elsewhere.run(*arguments, env={"STRONGHOLD_TOKEN": token, variable: certificates.ca_file}).ok()
        assert pulled.out == "KEY=value\n"
    untrusting = elsewhere.run(*arguments, env={"STRONGHOLD_TOKEN": token}).failed(7)
    assert "STRONGHOLD_CA_FILE" in untrusting.err
    assert untrusting.out == ""
    plain = elsewhere.run(
        *arguments, env={"STRONGHOLD_TOKEN": token, "STRONGHOLD_URL": server.url.replace("https:", "http:")}
    )
    assert plain.code != 0
    assert plain.out == ""
