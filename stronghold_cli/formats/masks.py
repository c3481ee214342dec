"""The lines that make GitHub's runner hide values in the log of a job.

To be written to stderr, which the runner reads for commands as well as stdout, before anything else is written: the runner
hides a value only in what comes after its mask. Masked are each value, each line of it, both without the blanks around
(a shell that splits words prints them so), and the base64 of all of these. Values and lines that are empty or blank are
not: the runner refuses such masks.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\r|\n")


def mask_commands(values: Iterable[bytes]) -> bytes:
    """The ``::add-mask::`` lines for ``values``, each mask once, in the order of the values; empty if there are none.

    The syntax is that of ``ActionCommand`` in github.com/actions/runner: ``%``, CR and LF are escaped, so that a value can
    neither end its command nor begin one of its own.
    """
    masks = dict.fromkeys(mask for value in values for form in _forms(value) for mask in (form, *_base64_forms(form)))
    return b"".join(b"::add-mask::%s\n" % _escape(mask) for mask in masks)


def _forms(value: bytes) -> Iterator[bytes]:
    """The value and its lines, as they are and without the blanks around, but for blank ones."""
    for text in (value, *_LINE_END.split(value)):
        if stripped := _strip(text):
            yield text
            yield stripped


def _strip(text: bytes) -> bytes:
    """Without the blanks around: those of Unicode, which the runner counts as blank, where the bytes are UTF-8."""
    try:
        return text.decode("utf-8").strip().encode()
    except UnicodeDecodeError:
        return text.strip()


def _base64_forms(text: bytes) -> tuple[bytes, bytes]:
    """Standard and URL-safe base64 without padding, which thereby match with padding, too."""
    return b64encode(text).rstrip(b"="), urlsafe_b64encode(text).rstrip(b"=")


def _escape(mask: bytes) -> bytes:
    return mask.replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
