"""Which names are legal, and when two are the same (product: names and limits; protocol section 2).

Two questions, kept apart: ``require_…`` answers a person with ``UsageError``; ``is_…`` answers a verifier. Names and
passphrases are NFC; "without regard to case" is NFC(casefold(NFC(x))). Values of secrets are never touched.
"""

from __future__ import annotations

import re

from stronghold_cli.protocol.errors import UsageError

ID_PREFIXES = {"agent": "ag_", "profile": "pr_", "group": "gr_", "operator": "op_", "token": "tk_"}
# Shown before ids of what has no name of its own, so that no name has to keep clear of it.
LOCKDOWN_PREFIX = "ld_"
SECRET_PREFIX = "se_"  # noqa: S105  (it begins an id)
MAX_NAME = 100
MAX_SECRET_NAME = 255
MAX_VALUE = 1 << 20
MAX_NOTE = 4096
MAX_SECRETS = 20_000
MAX_CIPHERTEXT = 64 << 20
MAX_DESCRIPTION = 1000

# Bidirectional controls and other invisible format characters are refused by their categories Cc, Cf, Cs, Co, Cn, Zl, Zp;
# the zero-width joiners, which real scripts and emoji need, are the exception.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")
_LINE_LAYOUT = {ord("\t"): " ", ord("\n"): " "}


def nfc(text: str) -> str:
    """Unicode normalisation form C; ASCII is returned as it is, without loading the tables."""
    if text.isascii():
        return text
    import unicodedata

    return unicodedata.normalize("NFC", text)


def caseless(name: str) -> str:
    """The key under which names are unique: NFC(casefold(NFC(x)))."""
    return nfc(nfc(name).casefold())


def name_fault(name: str, *, profile: bool = False) -> str:
    """Say why ``name`` is no legal name of an org, person, agent, group or (stricter) profile; empty if it is legal."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"must have 1 to {MAX_NAME} characters"
    if name != nfc(name):
        return "is not in Unicode normalisation form C"
    if name != name.strip():
        return "begins or ends with a blank"
    bad = _control_character(name)
    if bad:
        return f"holds the control or direction character U+{ord(bad):04X}"
    if name.casefold().startswith(tuple(ID_PREFIXES.values())):
        return "begins like an id (ag_, pr_, gr_, op_, tk_)"
    if profile and ("/" in name or any(c.isspace() for c in name)):
        return "holds a slash or a blank"
    return ""


def require_name(kind: str, name: str) -> str:
    """Return ``name`` in NFC if it is a legal name for ``kind`` (``agent``, ``profile``, …), else raise ``UsageError``."""
    name = nfc(name)
    fault = name_fault(name, profile=kind == "profile")
    if fault:
        raise UsageError(f"The {kind} name {name[:40]!r} {fault}.", hint="Choose another name.")
    return name


def require_description(text: str) -> str:
    """Return a description in NFC if it is legal, else raise ``UsageError``."""
    text = nfc(text)
    if len(text) > MAX_DESCRIPTION or not is_plain_text(text):
        raise UsageError(
            f"The description has more than {MAX_DESCRIPTION} characters, or holds control characters.",
            hint="Shorten it, or leave them out.",
        )
    return text


def is_secret_name(name: str) -> bool:
    """Whether ``name`` is a legal secret name: ``[A-Za-z_][A-Za-z0-9_]*``, up to 255."""
    # An ASCII identifier of Python has exactly this form.
    return len(name) <= MAX_SECRET_NAME and name.isascii() and name.isidentifier()


def require_secret_name(name: str) -> str:
    """Return ``name`` if it is a legal secret name, else raise ``UsageError``."""
    if not is_secret_name(name):
        raise UsageError(
            f"{name[:40]!r} is not a legal secret name.",
            hint=f"Use letters, digits and underscores, not beginning with a digit, at most {MAX_SECRET_NAME}.",
        )
    return name


def is_label(key: str, value: str) -> bool:
    """Whether ``key=value`` is a legal label: each part 1 to 63 characters without blanks, ``=``, commas and controls."""
    return all(re.fullmatch(r"[^\s=,]{1,63}", part) and not _control_character(part) for part in (key, value))


def is_plain_text(text: str) -> bool:
    """Whether a description or reason is legal: NFC, and no control or direction characters but tab and line end."""
    return text == nfc(text) and not _control_character(text.translate(_LINE_LAYOUT))


def _control_character(text: str) -> str:
    """The first control or direction character of ``text``, or nothing."""
    if text.isascii() and text.isprintable():
        return ""
    import unicodedata

    bad = (c for c in text if unicodedata.category(c) in _REFUSED_CATEGORIES and c not in _JOINERS)
    return next(bad, "")
