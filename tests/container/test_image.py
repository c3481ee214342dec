"""The container image, built and run for real: what is in it, what is not, and the main job with a read-only root.

On a base of Debian's packages by `.ci/build-image`; with ``IMAGE=FILE`` on what another builder made (`docker save`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.conftest import BUILD_SECONDS, REPOSITORY
from tests.container.containers import Container, Image
from tests.unit.wire_servers import Certificates

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 100)

PASSPHRASE = "correct horse battery staple"
VALUES = 'DATABASE_URL="postgres://app:s3cret@db/app"\nEMPTY=\nPEM="first\nsecond"\n'
USER = 10001
# What the layers on top of the base may weigh: the client, the server and their byte code.
OWN_BYTES = 110_000_000
# Addresses that everybody uses; any other host in this machine's settings must not be found in an image.
PUBLIC_HOSTS = {"localhost", "127.0.0.1", ""} | {
    f"{name}.org" for name in ("pypi", "files.pythonhosted", "deb.debian", "security.debian")
}


def volume(folder: Path, name: str) -> Path:
    """A fresh volume of the image's user, as engines make it from the image's folder."""
    path = folder / name
    path.mkdir(mode=0o700)
    os.chown(path, USER, USER)
    return path


def put(path: Path, text: str) -> str:
    """A file of the image's user."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    os.chown(path, USER, USER)
    return path.name


def own_files(image: Image) -> Iterator[tarfile.TarInfo]:
    """The entries of every layer but the base's."""
    for layer in own_layers(image):
        with tarfile.open(layer) as tar:
            yield from tar


def own_layers(image: Image) -> list[Path]:
    """The layers above the base: the two instructions of the last stage that write files make two, or one together."""
    found = []
    for layer in image.layers:
        with tarfile.open(layer) as tar:
            if any(entry.name.startswith(("opt/stronghold", "data")) for entry in tar):
                found.append(layer)
    assert found
    return found


def this_machines_words() -> set[bytes]:
    """Hosts, credentials and folders in the settings of pip, apt and proxies, which must not reach an image."""
    texts = [f"{name}={value}" for name, value in os.environ.items() if re.match(r"(?i)pip_|uv_|.*_proxy$", name)]
    listed = [sys.executable, "-m", "pip", "config", "list"]
    texts.append(subprocess.run(listed, capture_output=True, text=True, check=False).stdout)
    texts += [path.read_text() for path in Path("/etc/apt").rglob("*") if path.suffix in {".list", ".sources"}]
    words = set()
    for address in re.findall(r"[a-z+]+://([^\s'\"]+)", "\n".join(texts)):
        credentials, _, place = address.rpartition("@")
        words.update({credentials.split(":")[-1], re.split("[:/]", place)[0]} - PUBLIC_HOSTS)
    return {word.encode() for word in words if len(word) > 3}


def test_configuration_is_that_of_a_server_that_anybody_may_run(image: Image) -> None:
    config = image.config
    assert image.user == (USER, USER)
    assert (config["Entrypoint"], config["Cmd"]) == (["stronghold"], ["server", "start"])
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["8321/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "-P", "-m", "stronghold_server.health"]
    assert image.environment["STRONGHOLD_DATA_DIR"] == "/data"
    data = (image.root / "data").stat()
    assert (data.st_uid, data.st_gid, data.st_mode & 0o777) == (USER, USER, 0o700)


def test_no_file_belongs_to_the_user_or_changes_rights(image: Image) -> None:
    for entry in own_files(image):
        if entry.name.startswith("opt/"):
            assert (entry.uid, entry.gid) == (0, 0), entry.name
            assert entry.issym() or not entry.mode & 0o6022, entry.name


def test_no_compiler_installer_or_cache_comes_along(image: Image) -> None:
    names = {entry.name for entry in own_files(image)}
    parts = {part for name in names for part in name.split("/")}
    assert not parts & {"pip", "setuptools", "wheels", ".cache", ".git", "requirements", "Dockerfile", "wheel"}
    assert not [name for name in names if name.startswith(("src", "build", "wheel", "root", "tmp"))]
    for program in ("cc", "gcc", "c++", "ld", "make", "git", "curl"):
        assert not (image.root / "usr/bin" / program).exists()


def test_layers_and_history_hold_nothing_of_the_building_machine(image: Image) -> None:
    words = this_machines_words() | {b"build-image."}
    history = json.dumps(image.configuration).encode()
    assert not [word for word in words if word in history]
    for layer in image.layers:
        content = layer.read_bytes()
        assert not [word for word in words if word in content], layer


def test_size_is_within_bounds(image: Image) -> None:
    own, whole = (sum(layer.stat().st_size for layer in layers) for layers in (own_layers(image), image.layers))
    print(f"image {whole / 1e6:.0f} MB, of which client and server {own / 1e6:.0f} MB")
    assert own < OWN_BYTES


def test_a_start_compiles_nothing(run: Callable[..., Container]) -> None:
    program = "import stronghold_cli.commands.env, stronghold_server.__main__, httpx"
    code, _, said = run("-v", "-c", program, entrypoint=["python3"]).wait()
    assert code == 0, said
    assert "stronghold_server/__pycache__/settings" in said
    assert re.findall(r"# code object from '?(\S+\.py)'?$", said, re.MULTILINE) == []


def test_server_does_not_speak_plain_http_to_others_unless_told(run: Callable[..., Container], tmp_path: Path) -> None:
    data = volume(tmp_path, "data")
    code, out, said = run(volumes={"/data": data}).wait()
    assert (code, out) == (2, "")
    for name in ("STRONGHOLD_TLS_CERTIFICATE", "STRONGHOLD_TLS_KEY", "STRONGHOLD_SERVER_ALLOW_HTTP=1"):
        assert name in said
    assert list(data.iterdir()) == []


def test_main_job_with_server_and_client_of_the_image_on_a_read_only_root(
    run: Callable[..., Container], image: Image, tmp_path: Path
) -> None:
    data, home, elsewhere = (volume(tmp_path, name) for name in ("data", "home", "elsewhere"))
    server = run(volumes={"/data": data}, environment={"STRONGHOLD_SERVER_ALLOW_HTTP": "1"})
    server.read_until("listening on http://0.0.0.0:8321\n")
    healthy = server.execute(*image.config["Healthcheck"]["Test"][1:])
    assert (healthy.returncode, healthy.stdout, healthy.stderr) == (0, "", "")
    assert_confined(server)

    # The operator works in one container, as with `docker exec`: what is unlocked lies in its memory.
    operator = run("-c", "echo ready; exec sleep 600", entrypoint=["sh"], volumes={"/home/stronghold": home})
    operator.read_until("ready")

    def operate(*words: str) -> str:
        operating = operator.execute("stronghold", *words)
        assert operating.returncode == 0, (words, operating.stderr)
        return operating.stdout

    put(home / "code", (data / "setup-code").read_text())
    files = ("--passphrase-file", put(home / "passphrase", PASSPHRASE), "--setup-code-file", "code", "--kit-file", "kits")
    operate("init", "--server", "http://127.0.0.1:8321", "--org", "One", "--name", "Ada", *files)
    put(home / "values.env", VALUES)
    operate("env", "push", "values.env", "--profile", "production", "--yes")
    token = json.loads(operate("agent", "create", "CI/CD Pipeline", "--profile", "production", "--json"))["token"]

    def pull(**more: Path) -> str:
        pulling = run(
            "env", "pull", "--profile", "production", environment={"STRONGHOLD_TOKEN": token},
            volumes={"/home/stronghold": more["home"]} if more else {},
        )  # fmt: skip
        code, out, said = pulling.wait()
        assert code == 0, said
        # Without a volume for it, the mark cannot be kept: said, not hidden.
        assert ("mark" in said) is not bool(more)
        return out

    first = pull(home=elsewhere)
    assert first == "DATABASE_URL=postgres://app:s3cret@db/app\nEMPTY=\nPEM='first\nsecond'\n"
    assert pull() == first

    server.signal(signal.SIGTERM)
    code, _, said = server.wait()
    assert code == 0, said
    again = run(volumes={"/data": data}, environment={"STRONGHOLD_SERVER_ALLOW_HTTP": "1"})
    again.read_until("listening on")
    assert pull(home=elsewhere) == first


def assert_confined(container: Container) -> None:
    """Process 1 is the server, as the image's user, without a capability; only its volume can be written."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{container.init}/status").read_text().splitlines())
    assert status["NSpid"].split()[-1] == "1"
    assert (status["Uid"].split(), status["Gid"].split()) == ([str(USER)] * 4, [str(USER)] * 4)
    assert (status["CapEff"], status["Groups"].strip()) == ("0" * 16, "")
    words = Path(f"/proc/{container.init}/cmdline").read_bytes().split(b"\0")
    assert b"stronghold_server" in words
    for folder in ("/opt/stronghold", "/home/stronghold", "/tmp"):
        assert container.execute("touch", f"{folder}/x").returncode != 0
    assert container.execute("sh", "-c", "touch /data/x && rm /data/x").returncode == 0


def test_health_check_holds_over_tls_and_notices_a_stopped_server(
    run: Callable[..., Container], image: Image, tmp_path: Path
) -> None:
    check = image.config["Healthcheck"]["Test"][1:]
    folder = volume(tmp_path, "tls")
    certificates = Certificates(folder)
    for path in folder.iterdir():
        os.chown(path, USER, USER)
    inside = {
        "STRONGHOLD_TLS_CERTIFICATE": "/tls/" + Path(certificates.own_file).name,
        "STRONGHOLD_TLS_KEY": "/tls/" + Path(certificates.key_file).name,
    }
    server = run(volumes={"/data": volume(tmp_path, "data"), "/tls": folder}, environment=inside)
    server.read_until("listening on https://0.0.0.0:8321\n")
    assert server.execute(*check).returncode == 0
    server.signal(signal.SIGSTOP)
    started = time.monotonic()
    unhealthy = server.execute(*check)
    server.signal(signal.SIGCONT)
    assert (unhealthy.returncode, unhealthy.stdout) == (1, "")
    assert unhealthy.stderr.startswith("unhealthy: ")
    assert time.monotonic() - started < image.config["Healthcheck"]["Timeout"] / 1e9


def test_secrets_and_the_repository_do_not_enter_the_context(tmp_path: Path, tool_or_skip: Callable[[str], str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("building an image without a container engine takes root")
    inside = {
        "": (".env", ".git/config", "org.kit", "x.py"),
        "stronghold_cli": (".env", "a/prod.env"),
        "server": (".env.local", "tls.key", "tls.pem", "stronghold.db-wal", "data/setup-code"),
        "requirements": ("kits.kit",),
    }
    planted = [os.path.join(folder, name) for folder, names in inside.items() for name in names]
    folders = {"stronghold_cli": "a/b.py", "server": "stronghold_server/c.py", "requirements": "d.whl"}
    wanted = [os.path.join(folder, name) for folder, name in folders.items()]
    context = tmp_path / "context"
    for name in (*planted, *wanted):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("x")
    shutil.copy(REPOSITORY / ".dockerignore", context)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    buildah = [tool_or_skip("buildah"), "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run"]
    buildah += ["--storage-driver", "vfs"]
    build = [
        "build",
        "--quiet",
        "--isolation",
        "chroot",
        "--file",
        f"{tmp_path}/Dockerfile",
        "--tag",
        "context",
        str(context),
    ]
    for command in (build, ["push", "--quiet", "context", f"docker-archive:{tmp_path}/context.tar:context"]):
        subprocess.run([*buildah, *command], check=True, capture_output=True)
    (tmp_path / "unpacked").mkdir()
    copied = Image(tmp_path / "context.tar", tmp_path / "unpacked").root
    assert {str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()} == set(wanted)
