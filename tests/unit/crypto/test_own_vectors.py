"""The frozen bytes of tests/vectors/own/crypto.json still come out, and the seals made once still open."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "vectors")


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_crypto_vectors", os.path.join(VECTORS, "make_crypto_vectors.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_frozen_vectors_come_out_again(maker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("place", ["derivations/kdf/result", "keys/token/wrap", "boxes/secret/blob", "seals/first/kcv"])
def test_the_check_tells_a_changed_vector(
    maker: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    section, name, member = place.split("/")
    with open(maker.PATH, encoding="utf-8") as file:
        kept = json.load(file)
    kept[section][name][member] = "hex:00"
    changed = tmp_path / "crypto.json"
    changed.write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr(maker, "PATH", str(changed))
    assert maker.main(["--check"]) == 1
    assert capsys.readouterr().err == f"differs: /{place}\n"
