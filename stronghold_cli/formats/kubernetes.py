"""``--format k8s``: a manifest of a Kubernetes Secret, with every value in base64 under ``data``.

Carries all bytes. Refused are names over 253 characters, which Kubernetes does not take as keys. The Secret is called after
the profile, in the characters that names of objects have. The reference reader reads such manifests and no others.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping

from stronghold_cli.formats.options import PLAIN, Options
from stronghold_cli.formats.yaml_text import key

# Kubernetes, validation.go: IsConfigMapKey and MaxSecretSize; DNS-1123 subdomains.
_MAX_KEY = 253
_MAX_BYTES = 1 << 20
_MAX_NAME = 253
_HEAD = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: Opaque\n"
_FILE = re.compile(
    r'(?s)apiVersion: v1\nkind: Secret\nmetadata:\n  name: "[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?"\n'
    r"type: Opaque\ndata:(?: \{\}\n|\n(.+))"
)
_LINE = re.compile(r'  ("?)([A-Za-z_][A-Za-z0-9_]*)\1: "([A-Za-z0-9+/=]*)"\n')


def refusal(name: str, value: bytes, options: Options = PLAIN) -> str:  # noqa: ARG001 - every format has this signature
    """Why a Secret cannot carry this, empty if it can."""
    return f"its name is longer than the {_MAX_KEY} characters of a Secret's key" if len(name) > _MAX_KEY else ""


def write(
    values: Mapping[str, bytes],
    random: Callable[[int], bytes],  # noqa: ARG001
    options: Options = PLAIN,
) -> tuple[bytes, tuple[str, ...]]:
    """The manifest, and a note where it holds more than Kubernetes takes."""
    lines = [f'  {key(name)}: "{b64encode(value).decode()}"\n' for name, value in values.items()]
    content = _HEAD.format(name=f'"{object_name(options.title)}"') + ("data:\n" + "".join(lines) if lines else "data: {}\n")
    size = sum(map(len, values.values()))
    notes = (f"the values have {size} bytes, and Kubernetes takes no Secret of more than {_MAX_BYTES}.",)
    return content.encode(), notes if size > _MAX_BYTES else ()


def read(content: bytes, options: Options = PLAIN) -> dict[str, bytes]:  # noqa: ARG001
    """The bytes under ``data``; ``ValueError`` for anything but a manifest of ours."""
    whole = _FILE.fullmatch(content.decode("ascii"))
    if whole is None:
        raise ValueError("not a Secret of ours")
    text = whole[1] or ""
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        line = _LINE.match(text, position)
        if line is None or line[2] in values:
            raise ValueError("not an entry of ours")
        values[line[2]] = b64decode(line[3], validate=True)
        position = line.end()
    return values


def object_name(title: str) -> str:
    """A profile's name as that of an object: lower case, digits, ``-`` and ``.``, a letter or digit at both ends."""
    name = re.sub(r"[^a-z0-9.-]+", "-", title.lower())
    labels = (re.sub(r"^-+|-+$", "", label) for label in name.split("."))
    return ".".join(label for label in labels if label)[:_MAX_NAME].strip(".-") or "stronghold"
