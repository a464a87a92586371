"""Plain data (YAML, the metadata of a checkpoint) to config dataclasses and back; types and ranges are checked.

A field's annotation says what it may be: `Literal["a", "b"]` one of these words, `Count` a number from 1 on. What
concerns several fields at once is a method `fault` of the dataclass, that returns what is wrong or None.
"""

import math
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..errors import SyncLipError

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """A range, both ends included unless `above`: then `low` itself is out."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"{self.low:g} to {self.high:g}" + (f", not {self.low:g}" if self.above else "")
        return f"more than {self.low:g}" if self.above else f"{self.low:g} or more"


class Odd(Within):
    """Of kernels, so that a convolution keeps the length."""

    def __contains__(self, value: float) -> bool:
        return super().__contains__(value) and value % 2 == 1

    def __str__(self) -> str:
        return f"an odd number, {super().__str__()}"


Count = Annotated[int, Within(1)]
Number = Annotated[int, Within(0)]
# Bounded above: a header that asks for more is no model but a way to fill the memory.
Size = Annotated[int, Within(1, 1 << 16)]
SizeOrNone = Annotated[int, Within(0, 1 << 16)]
Depth = Annotated[int, Within(0, 1 << 10)]
Kernel = Annotated[int, Odd(1, 1023)]
Share = Annotated[float, Within(0, 1)]
Amount = Annotated[float, Within(0)]
Positive = Annotated[float, Within(0, above=True)]


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass config as plain JSON-able data."""
    return asdict(config)


def from_dict(cls: type[T], data: Any, where: str = "config") -> T:
    """Build a config dataclass from plain data; `where` begins the message of an error.

    Raises SyncLipError on an unknown key, a value of the wrong type or out of its range, or values that contradict.
    """
    try:
        return _build(cls, data, "")
    except _Wrong as wrong:
        raise SyncLipError(f"{where}: {wrong}") from None


class _Wrong(Exception):
    """What is wrong with a setting."""


def _build(cls: type[T], data: Any, name: str) -> T:
    if not isinstance(data, dict):
        raise _Wrong(f"{name or 'this'} is {data!r}; expected a mapping of settings")
    hints = get_type_hints(cls, include_extras=True)
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    inside = f"{name}." if name else ""
    unknown = sorted(f"{inside}{key}" for key in set(data) - known)
    if unknown:
        raise _Wrong(f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    built = cls(**{key: _convert(hints[key], value, f"{inside}{key}") for key, value in data.items()})
    fault = built.fault() if hasattr(built, "fault") else None
    if fault:
        raise _Wrong(f"{inside}{fault}")
    return built


def _convert(kind: Any, value: Any, name: str) -> Any:
    def check(right: bool, expected: object) -> None:
        if not right:
            raise _Wrong(f"{name} is {value!r}; expected {expected}")

    if is_dataclass(kind):
        return _build(kind, value, name)  # type: ignore[arg-type]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = _convert(inner[0], value, name)
        check(value in inner[1], inner[1])
        return value
    if origin is Literal:
        words = [word for word in inner if type(word) is type(value) and word == value]
        check(bool(words), f"one of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        check(isinstance(value, (list, tuple)), "a list")
        check(inner[-1] is Ellipsis or len(value) == len(inner), f"{len(inner)} values")
        return tuple(_convert(inner[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict or kind is dict:
        check(isinstance(value, dict), "a mapping")
        return value
    if origin is not None:  # a union such as `str | None`
        if value is None and type(None) in inner:
            return None
        return _convert(next(o for o in inner if o is not type(None)), value, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    check(isinstance(value, kind) and not (kind is int and isinstance(value, bool)), kind.__name__)
    check(kind is not float or math.isfinite(value), "a finite number")
    return value
