"""``env render``: secrets are filled into text, the rest stays, and a target is replaced whole or not at all."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.more_support import files_of, masks_in, push, with_token
from tests.e2e.support import Machine, Org

TEMPLATE = "# {{ other }} ${HOME}\nurl={{ stronghold://shop/URL }}\nkey={{ stronghold://KEY }}\r\n"


@pytest.fixture(scope="module")
def shop(shared_org: Org) -> Org:
    push(shared_org, "shop", {"URL": "postgres://u:p$1@h/d", "KEY": "hunter2"}).ok()
    push(shared_org, "blog", {"KEY": "hunter3\n{{ stronghold://shop/KEY }}"}).ok()
    return shared_org


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_references_are_filled_in_and_the_rest_stays(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "app.tmpl").write_bytes(TEMPLATE.encode())
    printed = shop.run("env", "render", "app.tmpl", "-p", "blog", cwd=tmp_path).ok()
    expected = b"# {{ other }} ${HOME}\nurl=postgres://u:p$1@h/d\nkey=hunter3\n{{ stronghold://shop/KEY }}\r\n"
    assert printed.out_bytes == expected
    said = shop.run("env", "render", "app.tmpl", "-p", "shop", "-o", "app.conf", cwd=tmp_path).ok()
    assert said.out == ""
    assert "Wrote app.conf with 2 secrets filled in." in said.err
    assert (tmp_path / "app.conf").read_bytes() == b"# {{ other }} ${HOME}\nurl=postgres://u:p$1@h/d\nkey=hunter2\r\n"
    assert mode(tmp_path / "app.conf") == 0o600
    assert shop.run("env", "render", "-", "-p", "shop", "-o", "-", stdin="{{stronghold://KEY}}").ok().out == "hunter2"


def test_the_mode_of_the_target_is_kept(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "run.tmpl").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "run.tmpl").chmod(0o755)
    (tmp_path / "there").write_text("old")
    (tmp_path / "there").chmod(0o640)
    for target in ("there", "new"):
        shop.run("env", "render", "run.tmpl", "-o", target, cwd=tmp_path).ok()
        assert (tmp_path / target).read_text() == "hunter2"
    assert (mode(tmp_path / "there"), mode(tmp_path / "new")) == (0o640, 0o700)


@pytest.mark.parametrize(("before", "after", "told"), [(0o640, "0640", True), (0o601, "0601", True), (0o700, "", False)])
def test_a_target_that_others_get_at_keeps_its_mode_with_a_warning(
    shop: Org, tmp_path: Path, before: int, after: str, told: bool
) -> None:
    (tmp_path / "t").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "there").write_text("old")
    (tmp_path / "there").chmod(before)
    said = shop.run("env", "render", "t", "-o", "there", cwd=tmp_path).ok()
    assert (f"warning: there keeps its mode {after}, which lets other users" in said.err) is told
    assert mode(tmp_path / "there") == before
    (tmp_path / "plain").write_text("no secret")
    assert "keeps its mode" not in shop.run("env", "render", "plain", "-o", "there", cwd=tmp_path).ok().err


def test_a_target_runs_as_nobody_else_afterwards(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "there").write_text("old")
    (tmp_path / "there").chmod(0o4700)
    shop.run("env", "render", "t", "-o", "there", cwd=tmp_path).ok()
    assert mode(tmp_path / "there") == 0o700


def test_an_agent_renders_what_it_may_read(shop: Org, new_machine: Callable[..., Machine], tmp_path: Path) -> None:
    environment = with_token(shop.make_agent("renderer", {"shop": {}}), GITHUB_ACTIONS="true")
    (tmp_path / "t").write_text("{{ stronghold://KEY }}")
    printed = new_machine().run("env", "render", str(tmp_path / "t"), env=environment).ok()
    assert printed.out == "hunter2"
    assert b"hunter2" in masks_in(printed.err_bytes)
    assert b"postgres://u:p$1@h/d" not in masks_in(printed.err_bytes)
    (tmp_path / "t").write_text("{{ stronghold://blog/KEY }}")
    new_machine().run("env", "render", str(tmp_path / "t"), env=environment).failed(4)


def test_a_template_without_references_asks_nobody(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("plain\n")
    assert machine.run("env", "render", str(tmp_path / "t")).ok().out == "plain\n"


@pytest.mark.parametrize(
    ("template", "code", "said"),
    [
        (b"a\n{{ stronghold://shop/NONE }}\n", 5, "line 2: there is no secret for {{ stronghold://shop/NONE }}"),
        (b"{{ stronghold://nowhere/KEY }}", 5, "nowhere"),
        (b"a\n\n{{ stronghold://shop/not-a-name }}", 2, "line 3: {{ stronghold://shop/not-a-name }} names no secret"),
        (b"\x7fELF\0\0", 9, "is binary"),
        (b"\xff\xfea\0", 9, "is binary"),
        (b"caf\xe9", 9, "is not UTF-8"),
    ],
)
def test_what_cannot_be_filled_in_leaves_the_target_as_it_was(
    shop: Org, tmp_path: Path, template: bytes, code: int, said: str
) -> None:
    (tmp_path / "t").write_bytes(template)
    (tmp_path / "out").write_text("old")
    refused = shop.run("env", "render", "t", "-p", "shop", "-o", "out", "--force", cwd=tmp_path).failed(code)
    assert said in refused.err
    assert refused.out == ""
    assert files_of(tmp_path) == {"t": template, "out": b"old"}


def test_targets_are_refused_as_those_of_a_pull(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("t")
    (tmp_path / "fixed").write_text("old")
    (tmp_path / "fixed").chmod(0o444)
    for target in ("folder", "link", "fixed", "/dev/null", "nowhere/x"):
        shop.run("env", "render", "t", "-o", target, "--force", cwd=tmp_path).failed(9)
    shop.run("env", "render", "none", cwd=tmp_path).failed(9)
    shop.run("env", "render", "folder", cwd=tmp_path).failed(9)
    shop.run("env", "render").failed(2)
    assert files_of(tmp_path) == {"t": b"{{ stronghold://shop/KEY }}", "fixed": b"old"}


def test_a_runner_s_own_file_is_not_replaced(shop: Org, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "env").write_text("KEPT=1\n")
    runner = {"GITHUB_ENV": str(tmp_path / "env")}
    shop.run("env", "render", "t", "-o", str(tmp_path / "env"), cwd=tmp_path, env=runner).failed(2)
    assert (tmp_path / "env").read_text() == "KEPT=1\n"


def test_a_file_of_somebody_else_is_replaced_after_a_yes(shop: Org, tmp_path: Path, terminal_or_skip: object) -> None:
    (tmp_path / "t").write_text("{{ stronghold://shop/KEY }}")
    (tmp_path / "out").write_text("old")
    question = "out was not written by stronghold. Replace it? [y/N]"
    shop.machine.type("env", "render", "t", "-o", "out", answers=[(question, "n")], cwd=tmp_path).ok()
    assert (tmp_path / "out").read_text() == "old"
    assert "it was replaced" in shop.run("env", "render", "t", "-o", "out", cwd=tmp_path).ok().err
    assert (tmp_path / "out").read_text() == "hunter2"
