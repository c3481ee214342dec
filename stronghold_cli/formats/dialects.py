"""The ways to write a value in a ``.env``, and the choice among them: what the sub-dialects of ``--reader`` are made of.

A sub-dialect names the encodings that it tries, in its order, and the functions that read one value as its readers do. The
first encoding that all of these read back is written, so that a value is refused only where none is. Each is tried at the
end of a file and before lines that hold every quote, with and without text behind it: a quote that a reader does not see
closed swallows what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# One value: the text, and where the value begins; gives the value and where it ends. ``ValueError`` where there is none.
ReadValue = Callable[[str, int], tuple[str, int]]
Encoding = Callable[[str], str]

_TAILS = ("\n", "\nZ='\"`\\'\\\"\\` $(\n#'\"`\n", "\nZ='\nZ=\"\nZ=`\n")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_PORTABLE_BARE = re.compile(r"[A-Za-z0-9_./+@%,^-][A-Za-z0-9_./+@%,:=^-]*")
# docker --env-file takes lines of up to 64 KiB; longer values gain nothing from the form that it reads.
_MAX_PORTABLE_BARE = 60_000


def is_portable_bare(text: str) -> bool:
    """Whether every reader, docker's too, takes ``text`` without quotes for itself."""
    return not text or (len(text) < _MAX_PORTABLE_BARE and _PORTABLE_BARE.fullmatch(text) is not None)


def first_exact(text: str, encodings: Iterable[Encoding], readers: Iterable[ReadValue]) -> str | None:
    """``text`` in the first of ``encodings`` that all of ``readers`` read back, and no more; ``None`` if there is none."""
    if is_portable_bare(text):
        return text
    if "'" not in text and "\r" not in text and not text.endswith("\\"):
        return single(text)  # all that know quotes end it at the second one; trying it would only take time
    readers = tuple(readers)
    return next((written for encode in encodings if _is_exact(text, written := encode(text), readers)), None)


def write_entries(values: Iterable[tuple[str, bytes]], write_value: Callable[[str], str | None]) -> bytes:
    """The lines of a file; only for values that ``write_value`` has a form for."""
    return "".join(f"{name}={write_value(value.decode('utf-8'))}\n" for name, value in values).encode()


def read_entries(content: bytes, read_value: ReadValue) -> dict[str, bytes]:
    """The values of a file of ``KEY=value`` entries, each of which ends at a line end; ``ValueError`` for any other file."""
    text = content.decode("utf-8")
    values: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        key = _KEY.match(text, position)
        if key is None:
            raise ValueError("not a KEY= line")
        value, end = read_value(text, key.end())
        if text[end : end + 1] not in {"\n", ""}:
            raise ValueError("text after a value")
        values[key[1]] = value.encode()
        position = end + 1
    return values


def _is_exact(text: str, written: str, readers: tuple[ReadValue, ...]) -> bool:
    try:
        return all(read(written + tail, 0) == (text, len(written)) for read in readers for tail in _TAILS)
    except ValueError:
        return False


# --- encodings -------------------------------------------------------------------------------------------------------


def bare(text: str) -> str:
    """As it is."""
    return text


def bare_dollars(text: str) -> str:
    r"""As it is, ``$`` as ``\$``."""
    return text.replace("$", "\\$")


def single(text: str) -> str:
    """In single quotes, as it is."""
    return f"'{text}'"


def single_escaped(text: str) -> str:
    r"""In single quotes, ``\`` and ``'`` behind a backslash."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def backtick(text: str) -> str:
    """In backticks, as it is."""
    return f"`{text}`"


def double(text: str) -> str:
    """In double quotes, as it is."""
    return f'"{text}"'


def double_escaped(text: str) -> str:
    r"""In double quotes, ``\`` and ``"`` behind a backslash, a carriage return as ``\r``."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r")
    return f'"{escaped}"'


def double_dollars(text: str) -> str:
    r"""The same, with ``$`` as ``\$``."""
    return double_escaped(text).replace("$", "\\$")


def double_lines(text: str) -> str:
    r"""The same again, with a line end as ``\n``."""
    return double_dollars(text).replace("\n", "\\n")
