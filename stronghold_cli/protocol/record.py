"""Frozen typed records: the base of every document and message.

Why not ``dataclasses``: that module imports ``inspect`` and compiles source for each class when it is imported, which
costs a command more than it takes to verify a pull (docs/decisions/records.md). A type checker sees a record as a frozen
dataclass with keyword-only members; equality, ``repr`` and ``replace`` behave alike.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record:
    """Base of frozen value types. Members are the class's annotations, in order; a class attribute is a default."""

    members: ClassVar[tuple[str, ...]] = ()
    _expected: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
        cls.members = tuple(dict.fromkeys((*cls.members, *own)))
        cls._expected = frozenset(cls.members)

    def __init__(self, **values: Any) -> None:
        if values.keys() != self._expected:
            values = self._with_defaults(values)
        self.__dict__.update(values)

    def _with_defaults(self, values: dict[str, Any]) -> dict[str, Any]:
        missing = self._expected - values.keys()
        complete = {**{name: getattr(type(self), name) for name in missing if hasattr(type(self), name)}, **values}
        if complete.keys() != self._expected:
            raise TypeError(f"{type(self).__name__} takes exactly the members {', '.join(self.members)}")
        return complete

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self.members)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in self.members)})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some members changed; unknown names raise ``TypeError``."""
        return type(self)(**{**{name: self.__dict__[name] for name in self.members}, **changes})
