"""Small real servers on loopback for the tests of the wire: scripted answers, a forward proxy, certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Script = Callable[[socket.socket, bytes], None]


def answer(
    status: int = 200, body: bytes = b"ok", *headers: str, protocol: str | None = "1", length: int | None = None
) -> bytes:
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    if protocol is not None:
        lines.append(f"Stronghold-Protocol: {protocol}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def refusal(status: int, code: str, *headers: str) -> bytes:
    """The bytes of an error answer; its message is what no client shows."""
    return answer(status, b'{"error":{"code":"%s","message":"EVIL WORDS"}}' % code.encode(), *headers)


def read_request(connection: socket.socket) -> bytes:
    """One whole request, or what came of it."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


class Listener:
    """Listens on a free loopback port and runs one script for each connection, the last one again and again."""

    def __init__(self, *scripts: bytes | Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.failures = 0
        self._scripts = list(scripts)
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while request := read_request(connection):
                self.requests.append(request)
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                if isinstance(script, bytes):
                    connection.sendall(script)
                else:
                    script(connection, request)
                    return
        except OSError:
            self.failures += 1
        finally:
            connection.close()


def forward_proxy(connection: socket.socket, request: bytes) -> None:
    """A script: a forward proxy that reaches every name at 127.0.0.1."""
    head, _, _ = request.partition(b"\r\n")
    method, target, _ = head.split(b" ")
    place = target if method == b"CONNECT" else target.split(b"/")[2]
    with socket.create_connection(("127.0.0.1", int(place.rpartition(b":")[2]))) as upstream:
        if method == b"CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream.sendall(request)
        back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
        back.start()
        _pump(connection, upstream)
        back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


class Certificates:
    """A CA of the test's own and a server certificate for ``localhost``, ``stronghold.test`` and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = str(folder / "ca.pem")
        self.own_file = str(folder / "own.pem")
        self.key_file = str(folder / "server.pem")
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        ca = _builder(ca_name, ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
        ca_certificate = ca.sign(ca_key, hashes.SHA256())
        names = [x509.DNSName("localhost"), x509.DNSName("stronghold.test")]
        own = x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = _builder(server_name, ca_name, key.public_key()).add_extension(own, critical=False)
        pem = serialization.Encoding.PEM
        Path(self.ca_file).write_bytes(ca_certificate.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        own_certificate = certificate.sign(ca_key, hashes.SHA256()).public_bytes(pem)
        Path(self.own_file).write_bytes(own_certificate)
        Path(self.key_file).write_bytes(private + own_certificate)

    def context(self) -> ssl.SSLContext:
        """What a server speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.key_file)
        return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )
