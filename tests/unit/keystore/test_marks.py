"""Marks: nothing falls below one, and an unreadable one is never an empty one."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from stronghold_cli.keystore import marks
from stronghold_cli.keystore.files import locked
from stronghold_cli.keystore.marks import ContentsMark, HeadMark, Mark, MarkFile, OrgMark, merge
from stronghold_cli.protocol.errors import IntegrityError, LocalFileError

PROFILE, OTHER = b"p" * 16, b"q" * 16


def h(text: str) -> bytes:
    return text.encode().ljust(32, b".")


def mark(
    *, org: int = 3, head: int = 7, structure: int = 5, version: int = 2, default: bytes | None = None, tag: str = ""
) -> Mark:
    return Mark(
        org=OrgMark(seq=org, sha256=h(f"org{org}{tag}"), root_sign=h("root")),
        head=HeadMark(seq=head, sha256=h(f"head{head}{tag}")),
        structure_seq=structure,
        contents={PROFILE: ContentsMark(version=version, sha256=h(f"contents{version}{tag}"))},
        default_profile=default,
    )


def test_merge_keeps_the_higher_of_each_number_on_its_own() -> None:
    merged = merge(mark(org=3, head=9, structure=5, version=4), mark(org=4, head=8, structure=6, version=3, default=PROFILE))
    assert merged == mark(org=4, head=9, structure=6, version=4, default=PROFILE)
    assert merge(None, mark()) == mark()


def test_merge_joins_the_profiles_of_both() -> None:
    new = mark().replace(contents={OTHER: ContentsMark(version=1, sha256=h("other"))})
    assert set(merge(mark(), new).contents) == {PROFILE, OTHER}


@pytest.mark.parametrize(
    "other",
    [
        mark(org=3, head=8, version=3, tag="!").replace(head=HeadMark(seq=8, sha256=h("x"))),
        mark(org=4, head=7, version=3, tag="!"),
        mark(org=4, head=8, version=2, tag="!"),
        mark().replace(org=OrgMark(seq=3, sha256=h("org3"), root_sign=h("another root"))),
    ],
    ids=["org", "head", "contents", "root"],
)
def test_merge_refuses_one_number_with_two_hashes(other: Mark) -> None:
    with pytest.raises(IntegrityError, match="two different"):
        merge(mark(), other)
    with pytest.raises(IntegrityError, match="two different"):
        merge(other, mark())


def test_merge_refuses_another_default_profile() -> None:
    with pytest.raises(IntegrityError, match="another profile"):
        merge(mark(default=PROFILE), mark(default=OTHER))
    assert merge(mark(default=PROFILE), mark()).default_profile == PROFILE


def test_checks_refuse_what_is_older_or_another_under_the_same_number() -> None:
    known = mark(default=PROFILE)
    marks.check_org(known, 3, h("org3"))
    marks.check_org(known, 4, h("new"))
    marks.check_head(known, 7, h("head7"))
    marks.check_structure(known, 5)
    marks.check_contents(known, PROFILE, 2, h("contents2"))
    marks.check_contents(known, OTHER, 1, h("x"))
    marks.check_default_profile(known, PROFILE)
    marks.check_default_profile(mark(), OTHER)
    refused = [
        lambda: marks.check_org(known, 2, h("org2")),
        lambda: marks.check_org(known, 3, h("x")),
        lambda: marks.check_head(known, 6, h("head6")),
        lambda: marks.check_head(known, 7, h("x")),
        lambda: marks.check_structure(known, 4),
        lambda: marks.check_contents(known, PROFILE, 1, h("contents1")),
        lambda: marks.check_contents(known, PROFILE, 2, h("x")),
        lambda: marks.check_default_profile(known, OTHER),
    ]
    for check in refused:
        with pytest.raises(IntegrityError):
            check()


def test_without_a_mark_everything_is_accepted() -> None:
    marks.check_org(None, 1, h("x"))
    marks.check_head(None, 1, h("x"))
    marks.check_structure(None, 1)
    marks.check_contents(None, PROFILE, 1, h("x"))
    marks.check_default_profile(None, OTHER)


@pytest.fixture
def kept(tmp_path: Path) -> MarkFile:
    return MarkFile("t-" + "ab" * 16, str(tmp_path))


def test_a_mark_is_read_back_as_it_was_saved(kept: MarkFile) -> None:
    assert kept.load() is None
    assert kept.save(mark(default=PROFILE))
    assert kept.load() == mark(default=PROFILE)
    assert os.stat(kept.path).st_mode & 0o777 == 0o600


def test_saving_merges_with_what_lies_on_disk_at_that_moment(kept: MarkFile) -> None:
    kept.save(mark(head=9))
    assert kept.save(mark(head=8, version=5))
    assert kept.load() == mark(head=9, version=5)
    with pytest.raises(IntegrityError, match="two different"):
        kept.save(mark(head=9, version=5, tag="!"))
    assert kept.load() == mark(head=9, version=5)


def test_an_unchanged_mark_is_not_written_again(kept: MarkFile) -> None:
    kept.save(mark())
    before = os.stat(kept.path).st_ino
    kept.save(mark(head=6))
    assert os.stat(kept.path).st_ino == before


def test_savers_at_the_same_time_lose_nothing(kept: MarkFile) -> None:
    threads = [threading.Thread(target=kept.save, args=(mark(head=head),)) for head in range(1, 21)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    saved = kept.load()
    assert saved is not None
    assert saved.head.seq == 20


def saved_json(kept: MarkFile) -> dict[str, object]:
    kept.save(mark())
    value: dict[str, object] = json.loads(Path(kept.path).read_bytes())
    return value


@pytest.mark.parametrize(
    "damage",
    [
        {"v": 2},
        {"party": "t-" + "cd" * 16},
        {"structure_seq": 0},
        {"structure_seq": True},
        {"structure_seq": "5"},
        {"head": {"seq": 7}},
        {"head": {"seq": 7, "sha256": "AB" * 32}},
        {"head": {"seq": 7, "sha256": 7}},
        {"contents": []},
        {"contents": {"zz": {"version": 1, "sha256": "ab" * 32}}},
        {"default_profile": ""},
        {"extra": 1},
    ],
    ids=str,
)
def test_a_damaged_mark_is_an_error_that_names_the_way_out(kept: MarkFile, damage: dict[str, object]) -> None:
    Path(kept.path).write_text(json.dumps({**saved_json(kept), **damage}))
    for use in (kept.load, lambda: kept.save(mark(head=100))):
        with pytest.raises(IntegrityError) as caught:
            use()
        assert "auth reset-mark" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"\xff"])
def test_an_empty_or_cut_mark_is_an_error_and_stays(kept: MarkFile, content: bytes) -> None:
    Path(kept.path).write_bytes(content)
    with pytest.raises(IntegrityError):
        kept.load()
    with pytest.raises(IntegrityError):
        kept.save(mark())
    assert Path(kept.path).read_bytes() == content


def test_a_mark_that_others_may_change_or_a_symlink_is_an_error(kept: MarkFile) -> None:
    kept.save(mark())
    os.chmod(kept.path, 0o666)
    with pytest.raises(IntegrityError):
        kept.load()
    os.chmod(kept.path, 0o600)
    os.rename(kept.path, kept.path + "2")
    os.symlink(kept.path + "2", kept.path)
    with pytest.raises(IntegrityError):
        kept.load()


def test_where_it_cannot_be_written_the_caller_is_told_or_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    unwritable = MarkFile("t-" + "ab" * 16, str(tmp_path / "file" / "marks"))
    assert unwritable.save(mark()) is False
    with pytest.raises(LocalFileError) as caught:
        unwritable.save(mark(), required=True)
    assert caught.value.code == "MARK_NOT_KEPT"
    assert marks.mark_required({"STRONGHOLD_REQUIRE_MARK": "1"})
    assert not marks.mark_required({})


def test_a_full_disk_leaves_the_old_mark(kept: MarkFile, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.save(mark())

    def full(*_: object) -> None:
        raise LocalFileError("full")

    monkeypatch.setattr(marks, "write_private", full)
    assert kept.save(mark(head=8)) is False
    assert kept.load() == mark()


def test_reset_forgets(kept: MarkFile) -> None:
    Path(kept.path).write_bytes(b"broken")
    assert kept.reset() is True
    assert kept.load() is None
    assert kept.reset() is False


def test_agents_and_operators_have_marks_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    agent, operator = marks.agent_mark(b"a" * 16), marks.operator_mark(b"b" * 32)
    agent.save(mark())
    assert operator.load() is None
    assert os.path.dirname(agent.path) == str(tmp_path / "stronghold" / "marks")
    with locked(agent.path, 0.1):
        pass
