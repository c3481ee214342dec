"""The API pages in a real browser: everything is rendered, nothing is asked for elsewhere, the content policy holds.

``python -m tests.browser.test_api_pages`` writes the pictures of ``docs/images`` anew.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest

from stronghold_server.routes import ROUTES
from tests.browser.chromium import Browser, Tab, running
from tests.e2e.support import ServerProcess

IMAGES = Path(__file__).parents[2] / "docs/images"
SETTINGS = {"STRONGHOLD_AUTHORITIES": "secrets.example.com/base"}
# How many operations the page shows, as its own elements say.
SHOWN = {
    "docs": "document.querySelectorAll('.opblock').length",
    "redoc": "document.querySelectorAll('[id*=\"/operation/\"]').length",
}
IS_RENDERED = {page: f"{shown} === {len(ROUTES)}" for page, shown in SHOWN.items()}
LOADED = {
    "docs": ("docs", "assets/swagger-ui.css", "assets/swagger-ui-bundle.js", "assets/swagger-start.js", "openapi.json"),
    "redoc": ("redoc", "assets/redoc-page.css", "assets/redoc.standalone.js", "assets/redoc-start.js", "openapi.json"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running_server = ServerProcess(tmp_path_factory.mktemp("server"), SETTINGS).start()
    yield running_server
    running_server.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, tool_or_skip: Callable[[str], str]) -> Iterator[Browser]:
    with running(tool_or_skip("chromium"), tmp_path_factory.mktemp("browser")) as started:
        yield started


def open_page(browser: Browser, url: str, page: str) -> Tab:
    tab = Tab(browser)
    tab.open(f"{url}/{page}")
    tab.wait_until(IS_RENDERED[page])
    tab.wait_until("document.readyState === 'complete'")
    return tab


def without_hash(url: str) -> str:
    """The name of an asset without the hash in it."""
    stem, _, ending = url.rpartition(".")
    return f"{stem.rpartition('.')[0]}.{ending}" if "/assets/" in url else url


@pytest.mark.parametrize(("page", "base"), [("docs", ""), ("redoc", "/base")])
def test_page_shows_every_operation_and_loads_nothing_from_elsewhere(
    browser: Browser, server: ServerProcess, page: str, base: str
) -> None:
    tab = open_page(browser, server.url + base, page)
    text = tab.evaluate("document.body.innerText")
    assert [route.summary for route in ROUTES if route.summary not in text] == []
    assert sorted(map(without_hash, tab.requests())) == sorted(f"{server.url}{base}/{name}" for name in LOADED[page])
    assert tab.companions() == []
    assert tab.complaints() == []
    assert tab.evaluate("document.cookie") == ""
    assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
    picture = tab.screenshot()
    assert picture.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", picture[16:24])[0] >= 1000
    assert len(picture) > 30_000  # an empty page has some 5,000 bytes


def test_swagger_offers_neither_to_try_nor_to_authorise(browser: Browser, server: ServerProcess) -> None:
    tab = open_page(browser, server.url, "docs")
    tab.evaluate("document.querySelector('[id$=-commit] .opblock-summary-control').click()")
    tab.wait_until("document.querySelectorAll('.responses-wrapper').length === 1")
    assert tab.evaluate("document.querySelectorAll('.try-out, .execute, .authorize').length") == 0
    assert tab.complaints() == []
    assert {urlsplit(url).netloc for url in tab.requests()} == {urlsplit(server.url).netloc}


FORBIDDEN = {
    "connect-src": "fetch('http://elsewhere.test/').catch(() => 0)",
    "img-src": "void (new Image().src = 'http://elsewhere.test/x.png')",
    "style-src": "void document.body.setAttribute('style', 'color: red')",
    "script-src-elem": "void document.head.append(Object.assign(document.createElement('script'), {textContent: '0'}))",
    "worker-src": "void new Worker(URL.createObjectURL(new Blob(['0'])))",
    "frame-src": "void document.body.append(Object.assign(document.createElement('iframe'), {src: 'http://elsewhere.test/'}))",
    "kEvalViolation": "try { eval('0') } catch { }",
}


def test_the_same_look_finds_what_the_policy_forbids(browser: Browser, server: ServerProcess) -> None:
    tab = open_page(browser, server.url, "docs")
    for word, attempt in FORBIDDEN.items():
        before = len(tab.complaints())
        tab.evaluate(attempt)
        tab.evaluate("new Promise(done => setTimeout(() => done(true), 100))")
        assert any(word in complaint for complaint in tab.complaints()[before:]), (word, tab.complaints()[before:])


def test_the_same_look_finds_requests_to_elsewhere(browser: Browser, server: ServerProcess) -> None:
    """On a page without a policy, the address is asked for, is seen, and leads nowhere."""
    tab = Tab(browser)
    tab.open(f"{server.url}/healthz")
    assert tab.evaluate("fetch('http://elsewhere.test/').then(() => 'answered', () => 'failed')") == "failed"
    assert "http://elsewhere.test/" in tab.requests()


def test_pictures_in_the_documentation_are_pictures_of_these_pages() -> None:
    for page in SHOWN:
        picture = (IMAGES / f"api-{page}.png").read_bytes()
        assert picture.startswith(b"\x89PNG\r\n")
        assert len(picture) < 150_000


def write_pictures(program: str) -> None:
    """Take the pictures of ``docs/images``."""
    with TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder), SETTINGS).start()
        try:
            with running(program, Path(folder)) as browser:
                for page in SHOWN:
                    (IMAGES / f"api-{page}.png").write_bytes(open_page(browser, server.url, page).screenshot())
        finally:
            server.stop()


if __name__ == "__main__":
    write_pictures(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium")
