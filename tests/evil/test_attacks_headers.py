"""Attack 43: malformed signature headers, against an independent library (protocol section 10, "Requests")."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import http_message_signatures as independent
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stronghold_cli.protocol.encoding import digest, encode_base64
from stronghold_cli.protocol.keys import SigningKey
from stronghold_cli.protocol.requests import SignedHeaders
from tests.evil.scene import Scene
from tests.evil.signing import Request, effects, pull_of
from tests.server.support import AUTHORITY


def _malformed(request: Request) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Sixty ways to write the three headers otherwise than the one profile does."""
    digest_line, input_line, signature_line = (value for _, value in request.lines)
    names = SignedHeaders.names

    def lines(place: int, value: str) -> list[tuple[str, str]]:
        values = [digest_line, input_line, signature_line]
        values[place] = value
        return list(zip(names, values, strict=True))

    value = signature_line.removeprefix("sh=:").removesuffix(":")
    signatures = {
        "empty": "",
        "label alone": "sh",
        "no value": "sh=",
        "no colons": f"sh={value}",
        "one colon": f"sh=:{value}",
        "a string": f'sh="{value}"',
        "a token": "sh=abc",
        "an empty byte sequence": "sh=::",
        "base64url": f"sh=:{value[:-4]}-_A=:",
        "no padding": f"sh=:{value.rstrip('=')}:",
        "more padding": f"sh=:{value}=:",
        "blank inside": f"sh=:{value[:9]} {value[9:]}:",
        "63 bytes": f"sh=:{encode_base64(bytes(63))}:",
        "65 bytes": f"sh=:{encode_base64(bytes(65))}:",
        "two labels": f"{signature_line}, sh2=:{value}:",
        "the label twice": f"{signature_line}, {signature_line}",
        "another label": f"sig=:{value}:",
        "upper-case label": f"SH=:{value}:",
        "blank before": f" {signature_line}",
        "blank behind": f"{signature_line} ",
        "tab behind": f"{signature_line}\t",
        "a parameter": f"{signature_line};x=1",
        "trailing comma": f"{signature_line},",
        "blank around the sign": f"sh = :{value}:",
        "not ascii": f"{signature_line}é",
        "non-zero bits at the end": f"sh=:{value[:-3]}{chr(ord(value[-3]) + 1)}==:",
    }
    inputs = {
        "empty": "",
        "no list": "sh=;created=1",
        "no parameters": input_line.partition(";")[0],
        "no label": input_line.removeprefix("sh="),
        "another label": input_line.replace("sh=", "sig1=", 1),
        "the label twice": f"{input_line}, {input_line}",
        "a second label": f"{input_line}, other=();created=1",
        "component twice": input_line.replace('"@method"', '"@method" "@method"'),
        "unknown component": input_line.replace('"@query"', '"@query" "x-other"'),
        "component with a parameter": input_line.replace('"@query"', '"@query";req'),
        "query-param": input_line.replace('"@query"', '"@query-param";name="org"'),
        "target-uri": input_line.replace('"@path"', '"@target-uri"'),
        "upper-case component": input_line.replace("@method", "@METHOD"),
        "bare component": input_line.replace('"@method"', "@method"),
        "two blanks": input_line.replace('" "', '"  "', 1),
        "a tab": input_line.replace('" "', '"\t"', 1),
        "created as a string": input_line.replace("created=", 'created="').replace(";nonce", '";nonce'),
        "created as a decimal": input_line.replace(";nonce", ".0;nonce"),
        "created negative": input_line.replace("created=", "created=-"),
        "created with zeros": input_line.replace("created=", "created=00"),
        "created huge": input_line.replace("created=", "created=99999"),
        "created twice": input_line.replace(";nonce", ";created=1;nonce"),
        "expires": f"{input_line};expires=9999999999",
        "nonce upper-case": input_line[:120] + input_line[120:].replace("a", "A"),
        "nonce short": input_line.replace('nonce="', 'nonce="x')[:-1],
        "no nonce": input_line.partition(";nonce")[0] + ";keyid" + input_line.partition(";keyid")[2],
        "no alg": input_line.replace(';alg="ed25519"', ""),
        "another alg": input_line.replace("ed25519", "rsa-pss-sha512"),
        "no tag": input_line.replace(';tag="stronghold-v1"', ""),
        "a blank before a parameter": input_line.replace(";alg", "; alg"),
        "another order": input_line.replace(';alg="ed25519";tag="stronghold-v1"', ';tag="stronghold-v1";alg="ed25519"'),
        "keyid of no kind": input_line.replace('keyid="t', 'keyid="x'),
        "keyid short": input_line.replace('keyid="t:', 'keyid="t:0'),
    }
    digest_value = digest_line.removeprefix("sha-256=")
    digests = {
        "empty": "",
        "another algorithm": f"sha-512={digest_value}",
        "two algorithms": f"{digest_line}, sha-512={digest_value}",
        "upper-case": digest_line.replace("sha", "SHA"),
        "the algorithm twice": f"{digest_line}, {digest_line}",
        "a string": digest_line.replace(":", '"'),
        "of another body": f"sha-256=:{encode_base64(digest(b'x'))}:",
        "31 bytes": f"sha-256=:{encode_base64(bytes(31))}:",
        "no colons": digest_line.replace(":", ""),
        "a parameter": f"{digest_line};q=1",
    }
    for place, variants in enumerate((digests, inputs, signatures)):
        for name, text in variants.items():
            yield f"{names[place]}: {name}", lines(place, text)
        yield f"{names[place]}: twice", [*request.lines, request.lines[place]]
        yield f"{names[place]}: another behind", [*request.lines, (names[place], "x")]


class _Resolver(independent.HTTPSignatureKeyResolver):
    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def resolve_public_key(self, key_id: str) -> Any:
        return Ed25519PublicKey.from_public_bytes(self.key.public)


class _Message:
    def __init__(self, request: Request, lines: list[tuple[str, str]]) -> None:
        self.method, self.url, self.body = request.method, f"https://{AUTHORITY}{request.target}", request.body
        joined: dict[str, str] = {}
        for name, value in lines:  # RFC 9110, section 5.3: lines of one name are one list
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        self.headers = joined


def _independently(request: Request, lines: list[tuple[str, str]]) -> list[Any] | None:
    """What the other library makes of it; ``None`` where it refuses."""
    verifier = independent.HTTPMessageVerifier(
        signature_algorithm=independent.algorithms.ED25519, key_resolver=_Resolver(request.key)
    )
    try:
        return list(verifier.verify(_Message(request, lines), max_age=timedelta(days=1)))  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  (whatever the other library raises is a refusal)
        return None


def test_attack_43_malformed_signature_headers(scene: Scene) -> None:
    """All are refused here; whatever of them the other library lets pass names nothing but what was truly signed."""
    cases = list(_malformed(pull_of(scene)))
    assert len(cases) >= 60
    assert len({name for name, _ in cases}) == len(cases)
    lenient = []
    for name, _ in cases:
        request = pull_of(scene)
        lines = dict(_malformed(request))[name]
        assert lines != request.lines, name
        before = effects(scene)
        verified = _independently(request, lines)
        request.lines = lines
        reply = request.send(scene)
        assert reply.status in (400, 401), (name, reply.status)
        assert reply.code in ("MALFORMED", "TOKEN_MISSING", "TOKEN_INVALID", "SIGNATURE_INVALID", "CLOCK_SKEW"), (
            name,
            reply.code,
        )
        assert effects(scene) == before, name
        if verified is not None:
            lenient.append(name)
            assert scene.token_id.hex() in verified[0].parameters["keyid"], name
    # The other library is meant for many profiles; it does judge most of these as we do.
    assert len(lenient) < len(cases) / 2, lenient
    request = pull_of(scene)
    assert _independently(request, request.lines) is not None
    assert request.send(scene).status == 200
