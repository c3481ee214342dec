"""Reads files with a Python reader: ``python read.py READER``; requests and answers as in main.go, without a kind."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable


def python_dotenv(path: str) -> dict[str, str | None]:
    from dotenv import dotenv_values

    return dotenv_values(path)


def compose_1(path: str) -> dict[str, str]:
    from compose.config.environment import env_vars_from_file

    return dict(env_vars_from_file(path))


def pyyaml(path: str) -> dict[str, str]:
    import yaml

    with open(path, encoding="utf-8") as stream:
        return yaml.safe_load(stream)


def ruamel(path: str) -> dict[str, str]:
    from ruamel.yaml import YAML

    with open(path, encoding="utf-8") as stream:
        return dict(YAML(typ="safe", pure=True).load(stream))


def _data(secret: dict[str, dict[str, str]]) -> dict[str, bytes]:
    return {name: b64decode(value, validate=True) for name, value in secret["data"].items()}


def from_csv(path: str) -> dict[str, str]:
    csv.field_size_limit(1 << 30)
    with open(path, encoding="utf-8", newline="") as stream:
        return {row["name"]: row["value"] for row in csv.DictReader(stream)}


def from_toml(path: str) -> dict[str, str]:
    with open(path, "rb") as stream:
        return tomllib.load(stream)


def from_json(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


READERS: dict[str, Callable] = {
    "python-dotenv": python_dotenv,
    "compose-1": compose_1,
    "pyyaml": pyyaml,
    "ruamel": ruamel,
    "pyyaml-secret": lambda path: _data(pyyaml(path)),
    "ruamel-secret": lambda path: _data(ruamel(path)),
    "csv": from_csv,
    "toml": from_toml,
    "json": from_json,
}


def answer(read: Callable, content: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".env") as file:
        file.write(content)
        file.flush()
        try:
            values = read(file.name)
            pairs = {name: value if isinstance(value, bytes) else value.encode() for name, value in values.items()}
        except Exception:  # noqa: BLE001  (whatever a reader raises, it refused the file)
            return "!"
    return " ".join(f"{name if name.isidentifier() else '?'}:{b64encode(value).decode()}" for name, value in pairs.items())


if __name__ == "__main__":
    chosen = READERS[sys.argv[1]]
    sys.stderr = io.StringIO()  # what a reader warns of
    for line in sys.stdin:
        print(answer(chosen, b64decode(line)))
