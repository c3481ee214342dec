"""The health check of a container: what it asks, and what it says where the server does not answer well."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from stronghold_server.health import main
from tests.server.test_process import Process
from tests.unit.wire_servers import Certificates


@pytest.mark.parametrize("with_tls", [False, True], ids=["plain", "tls"])
def test_running_server_is_healthy_and_a_stopped_one_is_not(
    with_tls: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"STRONGHOLD_AUTHORITIES": "secrets.example.com/base"}
    if with_tls:
        certificates = Certificates(tmp_path)
        environment |= {"STRONGHOLD_TLS_CERTIFICATE": certificates.own_file, "STRONGHOLD_TLS_KEY": certificates.key_file}
    process = Process("--data-dir", str(tmp_path / "data"), "--port", "0", **environment)
    try:
        environment["STRONGHOLD_LISTEN_PORT"] = str(process.port())
        assert main(environment) == 0
        assert capsys.readouterr() == ("", "")
    finally:
        process.end()
    assert main(environment) == 1
    assert capsys.readouterr().err.startswith("unhealthy: no answer: ")


def test_any_other_answer_and_wrong_settings_are_unhealthy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        # All addresses are asked on this machine's own.
        inside = {"STRONGHOLD_LISTEN_HOST": "0.0.0.0", "STRONGHOLD_SERVER_ALLOW_HTTP": "1"}
        assert main({**inside, "STRONGHOLD_LISTEN_PORT": str(listener.getsockname()[1])}) == 1
        thread.join()
    assert capsys.readouterr().err == "unhealthy: the answer is 503\n"
    assert main({"STRONGHOLD_LISTEN_PORT": "x"}) == 1
    assert "STRONGHOLD_LISTEN_PORT" in capsys.readouterr().err
