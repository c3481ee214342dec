"""The two pages that show people the API's description: Swagger UI and ReDoc, which load nothing from outside.

All that they load lies in ``assets/`` (its README says what each file is) and is served under a name that holds the hash of
its content, so that browsers keep it for good. Addresses are relative: the pages work below any base path. The content
policy allows scripts, styles and requests of this origin only, and no inline script.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cache
from typing import Final

from starlette.responses import Response

from stronghold_cli.protocol.record import Record
from stronghold_server.refusals import Unlogged

ASSETS: Final = os.path.join(os.path.dirname(__file__), "assets")
MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript"}
_HASH_DIGITS: Final = 16

# The two inline styles of ReDoc's script, by their hashes: empty elements that it fills through the style sheet's interface,
# and the style of its scroll bars. Another release has others; the browser test says which.
_REDOC_STYLES: Final = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)


class _Page(Record):
    """A page: which assets it loads, in this order, and which inline styles its policy allows."""

    title: str
    styles: tuple[str, ...]
    scripts: tuple[str, ...]
    inline_styles: tuple[str, ...]


_PAGES: Final = {
    "docs": _Page(
        title="Stronghold API",
        styles=("swagger-ui.css",),
        scripts=("swagger-ui-bundle.js", "swagger-start.js"),
        inline_styles=(),
    ),
    "redoc": _Page(
        title="Stronghold API reference",
        styles=("redoc-page.css",),
        scripts=("redoc.standalone.js", "redoc-start.js"),
        inline_styles=_REDOC_STYLES,
    ),
}
_HEADERS: Final = {
    "Stronghold-Protocol": "1",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def serve_page(kind: str) -> Response:
    """The page of this route; reads the assets, which takes some milliseconds, when the first page is asked for."""
    page = _PAGES[kind]
    headers = {**_HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": _policy(page)}
    return Response(_html(page), 200, headers, "text/html")


def serve_asset(file: str) -> Response:
    """The asset that pages name so; ``NOT_FOUND`` for every other name."""
    name = _names().get(file)
    if name is None:
        raise Unlogged("NOT_FOUND", "there is nothing at this path")
    headers = {**_HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), 200, headers, MEDIA_TYPES[name.rpartition(".")[2]])


def _policy(page: _Page) -> str:
    style = " ".join(("'self'", *page.inline_styles))
    return (
        f"default-src 'none'; script-src 'self'; style-src {style}; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _html(page: _Page) -> str:
    styles = "".join(f'<link rel="stylesheet" href="assets/{_served_name(name)}">\n' for name in page.styles)
    scripts = "".join(f'<script src="assets/{_served_name(name)}"></script>\n' for name in page.scripts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{page.title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f'{styles}</head>\n<body>\n<noscript>The description is <a href="openapi.json">openapi.json</a>.</noscript>\n'
        f'<div id="description"></div>\n{scripts}</body>\n</html>\n'
    )


@cache
def _content(name: str) -> bytes:
    with open(os.path.join(ASSETS, name), "rb") as file:
        return file.read()


@cache
def _served_name(name: str) -> str:
    """``swagger-ui.css`` with the hash of its content: ``swagger-ui.5ed08757e53da3e0.css``."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(_content(name)).hexdigest()[:_HASH_DIGITS]}.{ending}"


@cache
def _names() -> Mapping[str, str]:
    """The assets by the names under which they are served."""
    return {_served_name(name): name for page in _PAGES.values() for name in (*page.styles, *page.scripts)}
