"""Frozen records: exact members, value equality, no change after they are made."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from stronghold_cli.protocol.record import Record


class Point(Record):
    """Two members, one with a default, and one class variable that is no member."""

    unit: ClassVar[str] = "m"
    x: int
    y: int = 0


class Named(Point):
    """A record that adds a member."""

    name: str


class Twin(Record):
    """The same members as a point, in another class."""

    x: int
    y: int


def test_members_are_the_annotations_in_order_the_base_s_first() -> None:
    assert Point.members == ("x", "y")
    assert Named.members == ("x", "y", "name")


def test_values_and_defaults() -> None:
    assert (Point(x=1).x, Point(x=1).y, Point(x=1, y=2).y) == (1, 0, 2)
    assert Named(x=1, name="a").y == 0


@pytest.mark.parametrize("values", [{}, {"y": 1}, {"x": 1, "z": 1}, {"x": 1, "y": 2, "unit": "km"}])
def test_missing_and_unknown_members_are_type_errors(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="exactly the members x, y"):
        Point(**values)


def test_records_are_frozen() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        point.other = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point == Point(x=1)


def test_equality_is_by_class_and_value() -> None:
    assert Point(x=1, y=2) == Point(y=2, x=1)
    assert hash(Point(x=1, y=2)) == hash(Point(y=2, x=1))
    assert Point(x=1, y=2) != Point(x=1, y=3)
    assert Point(x=1, y=2) != Twin(x=1, y=2)
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2


def test_replace_makes_a_changed_copy() -> None:
    point = Point(x=1, y=2)
    assert point.replace(y=3) == Point(x=1, y=3)
    assert point == Point(x=1, y=2)
    with pytest.raises(TypeError):
        point.replace(z=1)


def test_repr_names_the_members() -> None:
    assert repr(Named(x=1, y=2, name="a")) == "Named(x=1, y=2, name='a')"
