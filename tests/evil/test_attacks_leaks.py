"""Attacks 14 and 47: anything secret in what goes out, in what lies about, and in what a crash shows (rules R9 and R22)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from stronghold_cli.crypto.keys import Keyset, RootKey, TokenSecret
from stronghold_cli.crypto.tokens import unlock_master_key
from stronghold_cli.keystore.sessions import find_session
from stronghold_cli.protocol.encoding import decode_base64, encode_base64
from stronghold_cli.protocol.token import parse_agent_token, parse_operator_kit, parse_root_kit
from tests.e2e.more_support import misbehaving_server
from tests.e2e.support import PASSPHRASE, Machine, Org, end
from tests.evil.evil_server import PULL, EvilServer
from tests.evil.scene import PRODUCTION, Agent, init_on
from tests.evil.taint import WINDOW, Needles, unfolded

Machines = Callable[[], Machine]
NAMES = ("SECRET_NAME_NUMBER_ONE", "SECRET_NAME_NUMBER_TWO", "SECRET_NAME_OF_A_FILE")
VALUES = {
    NAMES[0]: "value-number-one-of-production",
    NAMES[1]: 'two "quoted"\tlines\nof ünusual value text',
    NAMES[2]: "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END KEY-----\n",
}
LATER = "value-number-one-of-later-times"


def token_secrets(text: str, name: str) -> dict[str, bytes]:
    """What of a token is for the agent alone."""
    token = parse_agent_token(text)
    secret = token.secret + token.wrapped_master_key
    return {f"S and master key of {name}": secret, f"text of {name}": text.removeprefix("shat_").encode()}


def secrets_of(org: Org, tokens: Mapping[str, str]) -> dict[str, bytes]:
    """Everything that no server may ever see."""
    kit, root = parse_operator_kit(org.operator_kit), parse_root_kit(org.root_kit)
    with org.machine.here():
        session = find_session(kit.org_id, kit.operator_id, now=int(time.time()))
    assert session is not None
    found = {
        "passphrase": PASSPHRASE.encode(),
        "account key": kit.account_key,
        "root key": root.root_key,
        "keyset": session.keyset.raw,
        "root kit": org.root_kit.removeprefix("shrk_").encode(),
        "operator kit": org.operator_kit.removeprefix("shok_").encode(),
        "later value": LATER.encode(),
    }
    found |= {f"name {name}": name.encode() for name in NAMES}
    found |= {f"value of {name}": value.encode() for name, value in VALUES.items()}
    for name, text in tokens.items():
        found |= token_secrets(text, name)
    return found


def test_attack_14_no_decrypted_byte_and_no_window_of_a_token_goes_out(
    evil: EvilServer, new_machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    """The real program, operator and agent: traffic, database with its write-ahead log, and the server's log."""
    caplog.set_level("DEBUG")
    org = init_on(evil, new_machine())
    file = org.machine.file("values.json", json.dumps(VALUES))
    org.run("env", "push", str(file), "-p", "production", "--yes").ok()
    made = org.run("-q", "agent", "create", "deploy", "--profile", "production").ok()
    tokens = {"first": next(word for word in made.out.split() if word.startswith("shat_"))}
    tokens["second"] = org.run("-q", "token", "mint", "deploy").ok().out.strip()
    for text in tokens.values():
        agent = Agent(new_machine(), evil, text)
        assert agent.run("env", "pull", "-p", "production", "--format", "json").ok().json() == VALUES
        agent.run("run", "-p", "production", "--", "true").ok()
    org.run("secret", "set", NAMES[0], "-p", "production", stdin=LATER).ok()
    assert org.run("secret", "get", NAMES[0], "-p", "production").ok().out.strip() == LATER
    org.run("secret", "get", "NO_SUCH_NAME_AT_ALL", "-p", "production").failed(5)
    org.run("group", "remove", "production", "--agent", "deploy", "--yes").ok()
    org.run("auth", "lock").ok()
    org.run("auth", "unlock", "--passphrase-file", str(org.passphrase_file)).ok()

    needles = Needles({**secrets_of(org, tokens), "a name asked for": b"NO_SUCH_NAME_AT_ALL"})
    places = {f"{number} {each!r}": _bytes_of(each) for number, each in enumerate(evil.recorded)}
    places |= {path.name: path.read_bytes() for path in evil.folder.iterdir() if path.is_file()}
    places["log"] = caplog.text.encode()
    assert {"stronghold.db", "stronghold.db-wal"} <= places.keys()
    assert len(places) > 30
    assert needles.found_in(places) == set()
    # The control: the search does see what does go out.
    share = decode_base64(json.loads(evil.last_answer(PULL))["share"])
    document = json.loads(evil.last_answer(PULL))["agent"]["payload"].encode()
    known = Needles({"share": share, "document": decode_base64(document.decode())}).found_in(places)
    assert {name for name, place in known if "/v1/pull" in place} == {"share", "document"}


def _bytes_of(exchange: object) -> bytes:
    """Everything of one request and its answer, also what is folded into base64."""
    assert hasattr(exchange, "headers")
    headers = b"\n".join(name + b": " + value for name, value in exchange.headers)
    parts = (exchange.target.encode(), headers, unfolded(exchange.body), unfolded(exchange.answer))  # type: ignore[attr-defined]
    return b"\n".join(parts)


def test_attack_14_the_search_finds_every_window_in_every_spelling() -> None:
    secret = bytes(range(40, 80)) + b'"\n'
    needles = Needles({"it": secret})
    for start in range(len(secret) - WINDOW + 1):
        part = secret[start : start + WINDOW]
        for spelling in (part, part.hex().encode(), part.hex().upper().encode()):
            assert needles.found_in({"here": b"x" * 7 + spelling + b"y", "there": b"z" * 40}) == {("it", "here")}
        for shift in range(3):
            text = encode_base64(b"q" * shift + part + b"r" * 3).encode()
            for spelling in (text, text.replace(b"+", b"-").replace(b"/", b"_")):
                assert needles.found_in({"here": spelling}) == {("it", "here")}
    folded = json.dumps({"payload": encode_base64(json.dumps({"deep": encode_base64(secret)}).encode())}).encode()
    assert needles.found_in({"here": unfolded(folded)}) == {("it", "here")}
    assert needles.found_in({"here": json.dumps({"a": secret.decode()}).encode()}) == {("it", "here")}
    assert needles.found_in({"here": secret[: WINDOW - 1] + b"?" + secret[-WINDOW + 1 :]}) == set()
    with pytest.raises(ValueError, match="too short"):
        Needles({"short": b"eleven char"})


# In front of the program: what processes it starts, or becomes, with which words.
_WITNESS = """
import os, sys
def _witness(event, arguments):
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}:
        with open(os.environ["WITNESS"], "a") as file:
            file.write(repr((event, arguments)) + "\\n")
sys.addaudithook(_witness)
"""
# A child that shows all processes of the machine, and all that it was given itself.
_LOOK = """
import glob, sys
for path in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        sys.stdout.write(open(path).read().replace(chr(0), " ") + "\\n")
    except OSError:
        pass
sys.stdout.write("\\n--own--\\n" + open("/proc/self/environ").read().replace(chr(0), "\\n"))
"""


def test_attack_47_no_token_in_process_listings_or_childrens_environments(
    evil: EvilServer, new_machine: Machines, tmp_path: Path
) -> None:
    org = init_on(evil, new_machine())
    text = org.make_agent("deploy", {"production": {NAMES[0]: VALUES[NAMES[0]]}})
    machine = new_machine()
    witness = machine.home / "witness"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_WITNESS, encoding="utf-8")
    watched = {"PYTHONPATH": f"{folder}{os.pathsep}{machine.environment()['PYTHONPATH']}", "WITNESS": str(witness)}
    token_file = machine.file("token", text + "\n")
    ways: dict[str, tuple[tuple[str, ...], dict[str, str | None], str]] = {
        "variable": ((), {"STRONGHOLD_TOKEN": text}, ""),
        "file": (("--token-file", str(token_file)), {}, ""),
        "stdin": (("--token", "-"), {}, text),
        "the older variable": ((), {"API_STRONGHOLD_TOKEN": text}, ""),
    }
    needles = Needles(token_secrets(text, "token"))
    for words, environment, stdin in ways.values():
        look = ("run", *words, "-p", "production", "--", sys.executable, "-I", "-c", _LOOK)
        shown = machine.run(*look, env={**watched, **environment}, stdin=stdin).ok()
        listing, _, own = shown.out.partition("\n--own--\n")
        assert "import glob" in listing
        assert f"{NAMES[0]}={VALUES[NAMES[0]]}" in own
        assert needles.found_in({"listing": listing.encode(), "own": own.encode(), "stderr": shown.err_bytes}) == set()
        pulled = machine.run(
            "env", "pull", *words, "-p", "production", "-o", ".env", env={**watched, **environment}, stdin=stdin
        )
        assert needles.found_in({"out": pulled.ok().out_bytes, "err": pulled.err_bytes}) == set()
    seen = witness.read_bytes()
    assert b"os.exec" in seen  # the control: the witness was there
    assert (
        Needles({**token_secrets(text, "t"), "value": VALUES[NAMES[0]].encode()}).found_in(
            {"argv": _without_environments(seen)}
        )
        == set()
    )


def _without_environments(seen: bytes) -> bytes:
    """The words of each process: what stands in the environment of the command that ``run`` starts was asked for."""
    return b"\n".join(line.partition(b", {")[0] for line in seen.splitlines())


# The program with a fault in the middle of its work, where the most is known.
_BROKEN = """
import sys
import {module} as broken
def fault(*given, **named):
    raise {error}("fault " + repr(given) + repr(named))
broken.{name} = fault
from stronghold_cli.__main__ import main
main()
"""
FAULTS = {
    "where the master key is unlocked": ("stronghold_cli.reader.profile", "unlock_master_key", "RuntimeError"),
    "where values are open": ("stronghold_cli.reader.client", "open_profile", "ZeroDivisionError"),
    "where the mark is stored": ("stronghold_cli.reader.client", "_keep", "OSError"),
    "at an interrupt": ("stronghold_cli.reader.client", "open_profile", "KeyboardInterrupt"),
    "where memory ends": ("stronghold_cli.reader.profile", "map_root", "MemoryError"),
}


@pytest.mark.parametrize("where", FAULTS)
@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_attack_47_no_secret_in_tracebacks(scene_agent: Agent, where: str, debug: tuple[str, ...]) -> None:
    """The fault's own sentence shows whatever it was given: what keys and tokens say of themselves is their id."""
    module, name, error = FAULTS[where]
    program = (sys.executable, "-c", _BROKEN.format(module=module, name=name, error=error))
    words = (*debug, "env", "pull", "-p", "production")
    result = scene_agent.machine.run(*words, env=scene_agent.environment, program=program)
    assert result.code not in (0, 2), result.err
    assert result.out_bytes == b""
    token = parse_agent_token(scene_agent.token)
    secret = TokenSecret(token.secret)
    needles = {**token_secrets(scene_agent.token, "token"), "the wrapping key": secret.wrap}
    needles |= {f"value of {key}": value for key, value in PRODUCTION.items()}
    assert Needles(needles).found_in({"stderr": result.err_bytes}) == set()


@pytest.fixture
def scene_agent(agent: Agent) -> Agent:
    """The agent of the scene, after one pull."""
    agent.gets(PRODUCTION)
    return agent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_attack_47_no_core_dump_of_a_process_with_a_token(scene_agent: Agent) -> None:
    """The limit that keeps it from being written, and that none is there after the process was aborted."""
    machine = scene_agent.machine
    with misbehaving_server(None) as (address, asked):
        environment = {**scene_agent.environment, "STRONGHOLD_URL": f"http://{address}"}
        process = machine.start("env", "pull", "-p", "production", env=environment)
        try:
            assert asked.wait(20)
            limits = Path(f"/proc/{process.pid}/limits").read_text("ascii")
            core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
            assert core.split()[4] in ("0", "1")
            os.kill(process.pid, signal.SIGABRT)
            process.wait(20)
        finally:
            end(process)
    assert process.returncode == -signal.SIGABRT
    assert not [path for path in machine.home.rglob("*core*") if path.is_file()]


def test_attack_47_keys_and_tokens_show_their_ids_alone(scene_agent: Agent) -> None:
    token = parse_agent_token(scene_agent.token)
    secret = TokenSecret(token.secret)
    keyset, root = Keyset(b"k" * 32, bytes(32), bytes(16)), RootKey(b"r" * 32)
    shown = repr([token, secret, keyset, keyset.sign, keyset.seal, root, root.sign, secret.auth, unlock_master_key])
    needles = {**token_secrets(scene_agent.token, "token"), "keyset": b"k" * 32, "root": b"r" * 32, "wrap": secret.wrap}
    assert Needles(needles).found_in({"repr": shown.encode()}) == set()
