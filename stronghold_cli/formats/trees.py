"""JSON and YAML as trees that know their lines: what the files of ``env push`` are made of.

A scalar is the text that stands in the file: nothing is made a number or a truth on the way. Members that stand twice are
kept twice, so that they can be told. YAML's tags, and more than one document, are refused; aliases are followed.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # the decoder's own, which every JSONDecoder uses
from typing import TYPE_CHECKING, TypeAlias

from stronghold_cli.protocol.errors import UsageError
from stronghold_cli.protocol.record import Record

if TYPE_CHECKING:
    from yaml.nodes import Node

_MAX_DEPTH = 32
_JSON_SIGN = re.compile(r"[ \t\n\r]*([{}\[\]:,\"]|[^ \t\n\r{}\[\]:,\"]+)")
_YAML_TEXT = "tag:yaml.org,2002:str"
_YAML_NOTHING = "tag:yaml.org,2002:null"
# What a plain scalar of YAML can be taken for, beside text; an empty one and ``~`` are nothing.
_YAML_SCALARS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")


class Text(Record):
    """A string; ``plain`` where it is a number or a truth that stands there without quotes."""

    line: int
    text: str
    plain: bool = False

    def __repr__(self) -> str:
        return f"Text(line {self.line})"


class Nothing(Record):
    """``null``."""

    line: int


class Items(Record):
    """A list."""

    line: int
    items: tuple[Tree, ...]


class Members(Record):
    """An object or a map: name, the line of the name, and what stands under it, in their order."""

    line: int
    pairs: tuple[tuple[str, int, Tree], ...]

    def get(self, name: str) -> Tree | None:
        """What stands under a name, ``None`` if there is no such member."""
        return next((tree for key, _, tree in self.pairs if key == name), None)


Tree: TypeAlias = Text | Nothing | Items | Members


def parse_json(text: str, source: str) -> Tree:
    """The tree of a JSON text; ``UsageError`` with file and line if it is none."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}, line {error.lineno}: this is not JSON: {error.msg}.") from None
    except (RecursionError, ValueError):
        raise UsageError(f"{source}: this is not JSON that can be read.") from None
    return _JsonWalk(text, source).tree(0)


class _JsonWalk:
    """Walks over a text that is known to be JSON, and counts lines."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.position, self.line, self.counted = 0, 1, 0

    def tree(self, depth: int) -> Tree:
        if depth > _MAX_DEPTH:
            raise UsageError(f"{self.source}, line {self.line}: this is nested too deep.")
        sign = self._sign()
        line = self.line
        if sign == '"':
            return Text(line=line, text=self._string())
        if sign == "[":
            items = []
            while self._peek() != "]":
                items.append(self.tree(depth + 1))
                self._skip(",")
            self._sign()
            return Items(line=line, items=tuple(items))
        if sign == "{":
            members = []
            while self._peek() != "}":
                self._sign()
                line_of_name, name = self.line, self._string()
                self._sign()
                members.append((name, line_of_name, self.tree(depth + 1)))
                self._skip(",")
            self._sign()
            return Members(line=line, pairs=tuple(members))
        return Nothing(line=line) if sign == "null" else Text(line=line, text=sign, plain=True)

    def _sign(self) -> str:
        match = _JSON_SIGN.match(self.text, self.position)
        if match is None:
            raise UsageError(f"{self.source}: this is not JSON that can be read.")
        self.position = match.end()
        self.line += self.text.count("\n", self.counted, match.start(1))
        self.counted = match.start(1)
        return match[1]

    def _peek(self) -> str:
        match = _JSON_SIGN.match(self.text, self.position)
        return match[1] if match else ""

    def _skip(self, sign: str) -> None:
        if self._peek() == sign:
            self._sign()

    def _string(self) -> str:
        """The string whose opening quote was the last sign."""
        text, self.position = scanstring(self.text, self.position, True)
        return str(text)


def parse_yaml(text: str, source: str) -> Tree:
    """The tree of a YAML text; ``UsageError`` with file and line for what it cannot be, and for tags."""
    import yaml

    try:
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UsageError(f"{source}, line {line}: there is a character that YAML does not allow.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}, line {mark.line + 1}" if mark else source
        # The library's own words can hold a piece of the file.
        raise UsageError(f"{place}: this is not YAML that can be read.", hint=_yaml_hint(error)) from None
    except RecursionError:
        raise UsageError(f"{source}: this is not YAML that can be read.") from None
    if root is None or (root.tag == _YAML_NOTHING and not root.value):  # an empty document
        return Members(line=1, pairs=())
    return _YamlWalk(source).tree(root, 0)


def _yaml_hint(error: Exception) -> str:
    from yaml.scanner import ScannerError

    words = str(getattr(error, "problem", ""))
    if isinstance(error, ScannerError) and "quoted" in str(getattr(error, "context", "")):
        return "A quote is not closed."
    return (
        "There is more than one document." if "another document" in words else "Check the indentation and the quotes there."
    )


class _YamlWalk:
    """Takes the nodes of one document. A list or map that an alias repeats is refused: few lines could make millions."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.seen: set[int] = set()

    def tree(self, node: Node, depth: int) -> Tree:
        from yaml.nodes import CollectionNode, MappingNode, ScalarNode

        line = node.start_mark.line + 1
        if depth > _MAX_DEPTH or id(node) in self.seen:
            raise UsageError(f"{self.source}, line {line}: this is nested too deep, or repeated by an alias.")
        if isinstance(node, CollectionNode):
            self.seen.add(id(node))
        if isinstance(node, MappingNode):
            pairs = ((*self._name(key), self.tree(value, depth + 1)) for key, value in node.value)
            return Members(line=line, pairs=tuple(pairs))
        if not isinstance(node, ScalarNode):
            return Items(line=line, items=tuple(self.tree(each, depth + 1) for each in node.value))
        if node.tag == _YAML_NOTHING:
            return Nothing(line=line)
        if node.tag == _YAML_TEXT or (node.tag in _YAML_SCALARS and not node.style):
            return Text(line=line, text=node.value, plain=node.tag != _YAML_TEXT)
        raise UsageError(
            f"{self.source}, line {line}: there is a tag, and nothing but text is read.", hint="Take the tag out."
        )

    def _name(self, key: Node) -> tuple[str, int]:
        line = key.start_mark.line + 1
        if not isinstance(key.value, str):
            raise UsageError(f"{self.source}, line {line}: this name is not a text.")
        return key.value, line
