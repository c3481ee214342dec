"""The pages that show the API's description: which files they are made of, and how these are served."""

from __future__ import annotations

import hashlib
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from stronghold_server.pages import ASSETS, MEDIA_TYPES
from tests.server.support import BEHIND_PROXY, Reply, World

ROOT = Path(__file__).parents[2]
FOLDER = Path(ASSETS)
OURS = {"README.md", "swagger-start.js", "redoc-start.js", "redoc-page.css"}
PAGES = ("docs", "redoc")


class Elements(HTMLParser):
    """All elements of a page with their attributes, and all text inside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is not None:
            self.inline += data


def loaded(reply: Reply) -> list[str]:
    """What a page loads, as it is written there."""
    found = Elements(reply.body.decode()).found
    addresses = [attributes.get("src") or attributes.get("href") for tag, attributes in found if tag in ("script", "link")]
    return [address for address in addresses if address is not None and address != "data:,"]


def policy(reply: Reply) -> dict[str, str]:
    directives = [directive.strip().partition(" ") for directive in reply.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in directives}


def test_copied_files_are_those_of_the_packages() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    known = dict(re.findall(r"^\| `([^`]+)` \| .* \| `([0-9a-f]{64})` \|$", readme, re.MULTILINE))
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir() if path.name not in OURS}
    assert files == known
    assert len(known) == 9


def test_copied_files_are_the_releases_that_are_named() -> None:
    """ReDoc 3 sends telemetry: a newer release is taken on purpose, not by a copy."""
    assert 'Version: "2.5.4"' in (FOLDER / "redoc.standalone.js.LICENSE.txt").read_text(encoding="utf-8")
    assert b'"2.5.4"' in (FOLDER / "redoc.standalone.js").read_bytes()
    assert b"5.35.0" in (FOLDER / "swagger-ui-bundle.js").read_bytes()


def test_assets_go_into_the_wheel() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert "assets/*" in project["tool"]["setuptools"]["package-data"]["stronghold_server"]


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_what_lies_beside_it_under_the_hash_of_its_content(world: World, page: str) -> None:
    reply = world.call("GET", f"/{page}")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert reply.headers["cache-control"] == "no-store"
    addresses = loaded(reply)
    assert len(addresses) == 3
    for address in addresses:
        asset = world.call("GET", f"/{address}")
        assert asset.status == 200
        matched = re.fullmatch(r"assets/([a-z.-]+)\.([0-9a-f]{16})\.(js|css)", address)
        assert matched is not None
        stem, digest, ending = matched.groups()
        assert asset.body == (FOLDER / f"{stem}.{ending}").read_bytes()
        assert hashlib.sha256(asset.body).hexdigest().startswith(digest)
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["content-type"].partition(";")[0] == MEDIA_TYPES[ending]
        assert asset.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("page", PAGES)
def test_page_works_below_a_base_path(world: World, page: str) -> None:
    reply = world.call("GET", f"/base/{page}", host=BEHIND_PROXY.partition("/")[0])
    for address in loaded(reply):
        assert not address.startswith(("/", "http:", "https:"))
        assert world.call("GET", f"/base/{address}", host=BEHIND_PROXY.partition("/")[0]).status == 200


@pytest.mark.parametrize("page", PAGES)
def test_policy_allows_this_origin_and_no_inline_script(world: World, page: str) -> None:
    reply = world.call("GET", f"/{page}")
    directives = policy(reply)
    styles = directives.pop("style-src").split(" ")
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert styles[0] == "'self'"
    assert all(re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", style) for style in styles[1:])
    elements = Elements(reply.body.decode())
    assert elements.inline == ""
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on") or name == "style"]
    assert "style" not in {tag for tag, _ in elements.found}


@pytest.mark.parametrize(
    "name",
    [
        "swagger-ui.css",
        "swagger-ui.0000000000000000.css",
        "README.md",
        "swagger-ui.LICENSE.txt",
        "..%2fpages.py",
        "%2e%2e",
        "x" * 5000,
    ],
)
def test_other_names_of_assets_are_not_found(world: World, name: str) -> None:
    reply = world.call("GET", f"/assets/{name}")
    assert (reply.status, reply.code) == (404, "NOT_FOUND")


def test_pages_take_no_query(world: World) -> None:
    """Swagger UI once took the description's address, and more, from the query."""
    for page in PAGES:
        assert world.call("GET", f"/{page}?url=https://elsewhere.test/openapi.json").code == "MALFORMED"


def test_swagger_neither_validates_elsewhere_nor_sends_requests() -> None:
    start = (FOLDER / "swagger-start.js").read_text(encoding="utf-8")
    assert "validatorUrl: null" in start
    assert "supportedSubmitMethods: []" in start
