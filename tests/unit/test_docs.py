"""The documentation speaks of what is there, and of nothing that belongs to one machine.

Files that a text names exist; links lead somewhere; every ``STRONGHOLD_…`` variable of the code is documented, and every
documented one is in the code.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ("stronghold_cli", "server", "tests", "docs", "bench", "requirements", r"\.ci", r"\.github")
# A path of this repository as texts write it; folders end in "/". Patterns ("*", "…", "{") and what npm makes are left out.
REPOSITORY_PATH = re.compile(rf"(?<![\w./-])((?:{'|'.join(TREES)})/[\w./*{{}}…-]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\b(?:API_)?STRONGHOLD_[A-Z][A-Z0-9_]*\b")
# Words of that form in the code that are no variable it reads, each with its reason.
NOT_OURS: frozenset[str] = frozenset()

FORBIDDEN = {
    "a folder of one person's machine": re.compile(r"(?<![\w.])/(?:Users|work|workspace)/\w"),
    "the address of a package registry": re.compile(r"pypi\.org|pythonhosted\.|deb\.debian\.|registry\.npmjs"),
    "a mark of unfinished work": re.compile(r"\b(?:TODO|FIXME|XXX)\b"),
    "a number of the tracker": re.compile(r"\bissue #?\d", re.IGNORECASE),
}


def repository_files() -> list[Path]:
    """Every file that is, or is about to be, committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(ROOT / name for name in names if name and (ROOT / name).is_file())


def texts() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".md"]


def own_files() -> list[Path]:
    """Without the files of other projects, which are held to their hashes."""
    copied = ("swagger-ui", "redoc.")
    return [path for path in repository_files() if path.parent.name != "assets" or not path.name.startswith(copied)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown text's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [path for path in repository_files() if path.suffix in {".md", ".py"}], ids=name_of)
def test_files_that_are_named_exist(path: Path) -> None:
    named = {match.rstrip(".") for match in REPOSITORY_PATH.findall(path.read_text(encoding="utf-8"))}
    missing = {name for name in named if not re.search(r"[*{…]|/node_modules/", name) and not (ROOT / name).exists()}
    assert missing == set()


@pytest.mark.parametrize("path", texts(), ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", own_files(), ids=name_of)
def test_text_belongs_to_no_single_machine(path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # not a text
    found = {what: match.group() for what, pattern in FORBIDDEN.items() if (match := pattern.search(text))}
    if path == Path(__file__):
        found.pop("a mark of unfinished work", None)
    assert found == {}


def test_lock_files_hold_hashes_and_no_address() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [lock.stem for lock in locks] == ["build", "dev", "runtime", "server", "tools"]
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*--(?!hash=sha256:[0-9a-f]{64}\b)", text, re.MULTILINE)
        requirements = [line for line in text.splitlines() if re.match(r"\w", line)]
        assert requirements
        assert all(re.match(r"[\w.-]+==[\w.]+ .*\\$", line) for line in requirements)


def variables_of_the_code() -> set[str]:
    names = set()
    for path in [*(ROOT / "stronghold_cli").rglob("*.py"), *(ROOT / "server").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                names.add(node.value)
    return names - NOT_OURS


def documented_variables() -> set[str]:
    return {
        name
        for page in ("cli", "server")
        for name in VARIABLE.findall((ROOT / f"docs/{page}.md").read_text(encoding="utf-8"))
    }


def test_every_variable_of_the_code_is_documented() -> None:
    assert variables_of_the_code() - documented_variables() == set()


def test_every_documented_variable_is_in_the_code() -> None:
    assert documented_variables() - variables_of_the_code() == set()
