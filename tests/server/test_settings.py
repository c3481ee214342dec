"""Settings: nothing by accident, every fault in one sentence with its variable, and the documented table (rule 13)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from stronghold_cli.protocol.errors import UsageError
from stronghold_server.settings import CLIENT_VARIABLES, Settings, load_settings, settings_table
from stronghold_server.settings_fields import FIELDS

ROOT = Path(__file__).parents[2]


def fault(environment: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        load_settings(environment)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_defaults_serve_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    settings = load_settings({"HOME": "/x", "PATH": "/bin"})
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 8321)
    assert settings.authorities == ("127.0.0.1:8321", "localhost:8321")
    assert settings.data_dir.endswith("stronghold-server")
    assert settings.plain_http
    assert not settings.allow_http
    assert settings.setup_code == ""


def test_every_member_has_a_field_and_the_other_way_round() -> None:
    assert tuple(field.name for field in FIELDS) == Settings.members
    assert len({field.variable for field in FIELDS}) == len(FIELDS)


@pytest.mark.parametrize("name", ["STRONGHOLD_DATADIR", "STRONGHOLD_PORTS", "STRONGHOLD_TOKENS", "STRONGHOLD_"])
def test_unknown_variable_is_an_error(name: str) -> None:
    assert fault({name: "x"}) == f"{name} is not a setting of the server"


@pytest.mark.parametrize(
    "name",
    [
        "STRONGHOLD_PORT",
        "STRONGHOLD_SERVICE_HOST",
        "STRONGHOLD_SERVICE_PORT",
        "STRONGHOLD_SERVICE_PORT_HTTP",
        "STRONGHOLD_PORT_8321_TCP",
        "STRONGHOLD_PORT_8321_TCP_ADDR",
        "STRONGHOLD_SERVER_PORT",
        "STRONGHOLD_SERVER_SERVICE_HOST",
        "STRONGHOLD_TOKEN",
        "API_STRONGHOLD_TOKEN",
    ],
)
def test_variables_of_kubernetes_and_of_the_client_are_left_alone(name: str) -> None:
    assert load_settings({name: "tcp://10.0.0.1:8321"}) == load_settings({})


def test_permission_of_the_client_for_plain_http_is_none_for_the_server() -> None:
    assert "no certificate" in fault({"STRONGHOLD_ALLOW_HTTP": "1", "STRONGHOLD_LISTEN_HOST": "0.0.0.0"})


def test_list_of_the_clients_variables_is_complete() -> None:
    read = set()
    for path in (ROOT / "stronghold_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and re.fullmatch(r"STRONGHOLD_[A-Z_]+", value):
                read.add(value)
    of_the_server = {name for field in FIELDS for name in (field.variable, field.file_variable)}
    assert read - of_the_server <= set(CLIENT_VARIABLES)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "vault.example"])
def test_plain_http_needs_loopback_or_a_permission(host: str) -> None:
    assert "STRONGHOLD_LISTEN_HOST" in fault({"STRONGHOLD_LISTEN_HOST": host})
    assert load_settings({"STRONGHOLD_LISTEN_HOST": host, "STRONGHOLD_SERVER_ALLOW_HTTP": "1"}).allow_http


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("::1", "8321", ("[::1]:8321", "localhost:8321", "127.0.0.1:8321")),
        ("localhost", "80", ("localhost", "127.0.0.1")),
        ("0.0.0.0", "9000", ("localhost:9000", "127.0.0.1:9000")),
        ("Vault.example", "9000", ("vault.example:9000", "localhost:9000", "127.0.0.1:9000")),
    ],
)
def test_default_authorities(host: str, port: str, expected: tuple[str, ...]) -> None:
    environment = {"STRONGHOLD_LISTEN_HOST": host, "STRONGHOLD_LISTEN_PORT": port, "STRONGHOLD_SERVER_ALLOW_HTTP": "1"}
    assert load_settings(environment).authorities == expected


def test_authorities_keep_their_order_and_base_paths() -> None:
    text = "vault.example/base, 10.0.0.1:8321 ,vault.example/base"
    assert load_settings({"STRONGHOLD_AUTHORITIES": text}).authorities == ("vault.example/base", "10.0.0.1:8321")


@pytest.mark.parametrize(
    "authority", ["https://vault.example", "Vault.example", "vault.example/", "vault.example:443", "a b:99999"]
)
def test_authority_that_no_client_can_sign_is_an_error(authority: str) -> None:
    assert fault({"STRONGHOLD_AUTHORITIES": authority}).startswith("STRONGHOLD_AUTHORITIES holds ")


WRONG = [
    ("STRONGHOLD_LISTEN_PORT", "0"),
    ("STRONGHOLD_LISTEN_PORT", "65536"),
    ("STRONGHOLD_LISTEN_PORT", "tcp://10.0.0.1:8321"),
    ("STRONGHOLD_LISTEN_PORT", " 80"),
    ("STRONGHOLD_LISTEN_PORT", "٨٠"),
    ("STRONGHOLD_SERVER_ALLOW_HTTP", "maybe"),
    ("STRONGHOLD_SERVER_ALLOW_HTTP", ""),
    ("STRONGHOLD_LOG_LEVEL", "loud"),
    ("STRONGHOLD_SETUP_CODE", "short"),
    ("STRONGHOLD_SETUP_CODE", "with blanks in it, and long"),
    ("STRONGHOLD_DATA_DIR", ""),
    ("STRONGHOLD_DATA_DIR", "a\nb"),
    ("STRONGHOLD_TLS_CERTIFICATE", "/does/not/exist.pem"),
    ("STRONGHOLD_MAX_BODY_BYTES", "1e6"),
    ("STRONGHOLD_RECEIVE_SECONDS", "-1"),
    ("STRONGHOLD_SETUP_CODE_FILE", "/does/not/exist"),
    ("STRONGHOLD_SERVER_CONFIG", "/does/not/exist"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_value_is_told_with_its_variable(name: str, value: str) -> None:
    assert fault({name: value}).startswith(f"{name} ")


def test_faults_name_no_secret(tmp_path: Path) -> None:
    secret = tmp_path / "code"
    secret.write_text("hunter2\n")
    assert "hunter2" not in fault({"STRONGHOLD_SETUP_CODE": "hunter2"})
    assert "hunter2" not in fault({"STRONGHOLD_SETUP_CODE_FILE": str(secret)})
    settings = load_settings({"STRONGHOLD_SETUP_CODE": "hunter2-hunter2-hunter2"})
    assert "hunter2" not in repr(settings)


def test_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "code"
    secret.write_text("a-code-of-enough-characters\n")
    assert load_settings({"STRONGHOLD_SETUP_CODE_FILE": str(secret)}).setup_code == "a-code-of-enough-characters"
    both = {"STRONGHOLD_SETUP_CODE_FILE": str(secret), "STRONGHOLD_SETUP_CODE": "a-code-of-enough-characters"}
    assert "both given" in fault(both)


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("pem")
    assert "belong together" in fault({"STRONGHOLD_TLS_CERTIFICATE": str(pem)})
    environment = {
        "STRONGHOLD_TLS_CERTIFICATE": str(pem),
        "STRONGHOLD_TLS_KEY": str(pem),
        "STRONGHOLD_LISTEN_HOST": "0.0.0.0",
    }
    settings = load_settings({**environment, "STRONGHOLD_LISTEN_PORT": "443"})
    assert not settings.plain_http
    assert settings.authorities == ("localhost", "127.0.0.1")


def test_file_gives_what_no_variable_gives(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(
        'listen_port = 9000\nlog_level = "debug"\nallow_http = true\nauthorities = ["a.example", "b.example"]\n'
    )
    settings = load_settings({"STRONGHOLD_SERVER_CONFIG": str(config), "STRONGHOLD_LISTEN_PORT": "9001"})
    assert (settings.listen_port, settings.log_level, settings.allow_http) == (9001, "debug", True)
    assert settings.authorities == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen_prot = 1", "listen_prot in the file"),
        ("listen_port = 1.5", "listen_port in the file"),
        ("listen_port = true\n[x]", "x in the file"),
        ("not toml", "is not TOML"),
        ('data_dir = ["a", 1]', "data_dir in the file"),
    ],
)
def test_fault_in_the_file_is_told_with_its_member(tmp_path: Path, text: str, expected: str) -> None:
    config = tmp_path / "server.toml"
    config.write_text(text)
    assert expected in fault({"STRONGHOLD_SERVER_CONFIG": str(config)})


def test_memory_holds_one_commit_at_least() -> None:
    assert "STRONGHOLD_MAX_MEMORY_BYTES" in fault({"STRONGHOLD_MAX_MEMORY_BYTES": "1000000"})


def test_documented_table_is_the_one_of_the_code() -> None:
    page = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
    assert settings_table() in page, f"put this table into docs/server.md:\n{settings_table()}"
