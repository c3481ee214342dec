"""What other secrets managers write when they are asked for their secrets: ``env push --from …``.

Each row of ``SHAPES`` takes a tree (JSON or YAML, whichever that tool wrote) to lines, names and values; a ``.env`` that
such a tool wrote is read as any other. The shapes are those of the tools' documentation:

- ``bws``: ``bws secret list`` (Bitwarden Secrets Manager): a list of objects with ``key`` and ``value``. - ``doppler``:
``doppler secrets download --no-file --format json|yaml|env``, flat, with three members about itself, which are left out;
and ``doppler secrets --json``, objects with ``computed``. - ``infisical``: ``infisical export --format=json|yaml|dotenv``:
a list of objects with ``key`` and ``value``, or a flat map. - ``1password``: ``op item get ITEM --format json``: ``fields``
with ``label`` and ``value``; or a list of such items. - ``vault``: ``vault kv get -format=json|yaml``: ``data``, in version
2 of the engine ``data`` inside of it. - ``sops``: ``sops decrypt FILE``: the file itself, flat. A file that is still
encrypted is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from stronghold_cli.formats.trees import Items, Members, Nothing, Text, Tree
from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.names import is_secret_name

Entry = tuple[int, str, str]
DOPPLER_OWN = frozenset({"DOPPLER_PROJECT", "DOPPLER_ENVIRONMENT", "DOPPLER_CONFIG"})
_SOPS_DOTENV = "sops_"


def flat(tree: Tree, source: str) -> Iterator[Entry]:
    """Line, name and value of each member of one flat map of strings."""
    if not isinstance(tree, Members):
        raise UsageError(f"{source}, line {tree.line}: the file is not one map of names to values.", hint=_FLAT_HINT)
    for name, line, value in tree.pairs:
        yield line, name, _text(value, name, line, source)


_FLAT_HINT = 'Write {"KEY": "value", …}, or in YAML KEY: "value".'


def from_bws(tree: Tree, source: str) -> Iterator[Entry]:
    """A list of secrets, or one (``bws secret get``)."""
    return _listed(tree, source, "key", "value", "bws secret list")


def from_doppler(tree: Tree, source: str) -> Iterator[Entry]:
    """A flat map, or one of objects with ``computed``; Doppler's own members are left out."""
    if not isinstance(tree, Members):
        raise _unlike(tree, source, "doppler secrets download --no-file --format json")
    for name, line, value in tree.pairs:
        if name in DOPPLER_OWN:
            continue
        inner = value.get("computed") if isinstance(value, Members) else value
        yield line, name, _text(inner, name, line, source)


def from_infisical(tree: Tree, source: str) -> Iterator[Entry]:
    """A list of objects, or the flat map of its YAML."""
    if isinstance(tree, Members) and tree.get("key") is None:
        return flat(tree, source)
    return _listed(tree, source, "key", "value", "infisical export --format=json")


def from_1password(tree: Tree, source: str) -> Iterator[Entry]:
    """The labelled fields of items that have a value; notes are no secret of their own."""
    for item in tree.items if isinstance(tree, Items) else (tree,):
        fields = item.get("fields") if isinstance(item, Members) else None
        if not isinstance(fields, Items):
            raise _unlike(item, source, "op item get ITEM --format json")
        for field in fields.items:
            if not isinstance(field, Members):
                raise _unlike(field, source, "op item get ITEM --format json")
            purpose, label, value = field.get("purpose"), field.get("label"), field.get("value")
            if value is None or (isinstance(purpose, Text) and purpose.text == "NOTES"):
                continue
            if not isinstance(label, Text):
                raise UsageError(f"{source}, line {field.line}: a field has no label.", hint="Give it one in 1Password.")
            yield label.line, label.text, _text(value, label.text, label.line, source)


def from_vault(tree: Tree, source: str) -> Iterator[Entry]:
    """``data``, and ``data`` inside of it where ``metadata`` stands beside that."""
    held = tree.get("data") if isinstance(tree, Members) else None
    if isinstance(held, Members) and isinstance(held.get("metadata"), Members) and "data" in _names(held):
        held = held.get("data")
    if isinstance(held, Nothing):
        raise UsageError(f"{source}, line {held.line}: that version of the secret was deleted.", hint="Export another one.")
    if not isinstance(held, Members):
        raise _unlike(tree, source, "vault kv get -format=json PATH")
    return flat(held, source)


def from_sops(tree: Tree, source: str) -> Iterator[Entry]:
    """A flat map in clear; one that still holds what sops needs to decrypt it is refused."""
    if isinstance(tree, Members):
        refuse_encrypted(((line, name) for name, line, _ in tree.pairs), source)
    return flat(tree, source)


def refuse_encrypted(names: Iterator[tuple[int, str]], source: str) -> None:
    """``UsageError`` for a file of sops, a ``.env`` too, that was not decrypted."""
    for line, name in names:
        if name == "sops" or name.startswith(_SOPS_DOTENV):
            raise UsageError(
                f"{source}, line {line}: the file is still encrypted by sops.",
                hint="Decrypt it: sops decrypt FILE | stronghold env push --from sops -",
            )


SHAPES: Mapping[str, Callable[[Tree, str], Iterator[Entry]]] = {
    "bws": from_bws,
    "doppler": from_doppler,
    "infisical": from_infisical,
    "1password": from_1password,
    "vault": from_vault,
    "sops": from_sops,
}


def _listed(tree: Tree, source: str, name_key: str, value_key: str, command: str) -> Iterator[Entry]:
    for item in tree.items if isinstance(tree, Items) else (tree,):
        name = item.get(name_key) if isinstance(item, Members) else None
        if not isinstance(item, Members) or not isinstance(name, Text) or item.get(value_key) is None:
            raise _unlike(item, source, command)
        yield name.line, name.text, _text(item.get(value_key), name.text, name.line, source)


def _text(value: Tree | None, name: str, line: int, source: str) -> str:
    if isinstance(value, Text) and not value.plain:
        return value.text
    if isinstance(value, Text) and source.lower().endswith((".yaml", ".yml")):
        return value.text
    # A text that is no name may be a line of a secret.
    whose = f"the value of {name[:40]!r}" if is_secret_name(name) else "a value"
    raise UsageError(f"{source}, line {line}: {whose} is not a string.", hint="Put it in quotes.")


def _names(members: Members) -> set[str]:
    return {name for name, _, _ in members.pairs}


def _unlike(tree: Tree, source: str, command: str) -> UsageError:
    return UsageError(
        f"{source}, line {tree.line}: this is not what that tool writes.", hint=f"Take the output of: {command}"
    )
