"""Puts JSON into Go's types, as `json.Unmarshal` does, and refuses it in Go's words.

A request's type is told once, as a `Struct` of others. Go matches keys in any case, takes null for
"not there", and leaves out fields that it does not know. It goes on after a value of a wrong type,
and names the first of them in the end; but a type that unmarshals itself stops it at once.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from dripline.testing.fake_ollama.go.go_reading import GoError, Literal
from dripline.testing.fake_ollama.go.go_writing import quoted
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue


class WrongType(GoError):
    """`json.UnmarshalTypeError`: a value that does not go into a type.

    Attributes:
        value: What Go calls the value: "string", or "number 1.5".
        go_type: The type's name.
        struct: The innermost struct that the value is a field of, or "".
        path: The names of the fields on the way there.
    """

    def __init__(self, value: str, go_type: str, struct: str = "", path: tuple[str, ...] = ()):
        super().__init__()
        self.value = value
        self.go_type = go_type
        self.struct = struct
        self.path = path

    @property
    def message(self) -> str:
        """Go's words."""
        field = f"struct field {self.struct}.{'.'.join(self.path)}" if self.path else "value"
        return f"json: cannot unmarshal {self.value} into Go {field} of type {self.go_type}"

    def within(self, struct: str, path: tuple[str, ...]) -> WrongType:
        """Return the error as one that has come out of a field of an outer struct."""
        if not path:
            return self
        return WrongType(self.value, self.go_type, struct, path + self.path)


class _Stopped(Exception):
    """Carries the error of a type that unmarshals itself to the end."""

    def __init__(self, error: GoError) -> None:
        super().__init__()
        self.error = error


@dataclass(slots=True)
class _State:
    """Where one `json.Unmarshal` is.

    Attributes:
        struct: The struct whose field is read.
        path: The fields on the way, from the outermost struct.
        error: The first value of a wrong type.
    """

    struct: str = ""
    path: tuple[str, ...] = ()
    error: GoError | None = None

    def placed(self, error: GoError) -> GoError:
        """Return an error that names where it happened."""
        return error.within(self.struct, self.path) if isinstance(error, WrongType) else error

    def save(self, error: GoError) -> None:
        """Keep an error if it is the first."""
        self.error = self.error or self.placed(error)


class GoType:
    """A type of Go's.

    Attributes:
        name: As `reflect` prints it, such as "[]api.Message".
    """

    name: str

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return what becomes of a value that is not null; None where it is of a wrong type."""
        raise NotImplementedError


def unmarshal(value: JsonValue, go_type: GoType) -> JsonValue:
    """Return a value as what Go makes of it; null becomes None.

    Raises:
        GoError: Go refuses it.
    """
    state = _State()
    try:
        done = None if value is None else go_type.put(value, state)
    except _Stopped as stopped:
        raise stopped.error from None
    if state.error:
        raise state.error
    return done


def unmarshal_object(value: JsonValue, struct: Struct) -> JsonObject:
    """Return the fields of a struct that were there and not null, by their right names.

    Raises:
        GoError: Go refuses the value.
    """
    done = unmarshal(value, struct)
    return done if isinstance(done, Mapping) else {}


def kind_of(value: JsonValue) -> str:
    """Return what Go's JSON package calls a value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


class _Simple(GoType):
    """A type whose values are those of one Python type."""

    def __init__(self, name: str, python: type[str] | type[bool]) -> None:
        self.name = name
        self._python = python

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if isinstance(value, self._python):
            return value
        state.save(WrongType(kind_of(value), self.name))
        return None


class _Int(GoType):
    name = "int"
    _LEAST: ClassVar = -(1 << 63)
    _MOST: ClassVar = (1 << 63) - 1

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            state.save(WrongType(kind_of(value), self.name))
        elif isinstance(value, float) or not self._LEAST <= value <= self._MOST:
            text = value.text if isinstance(value, Literal) else str(value)
            state.save(WrongType(f"number {text}", self.name))
        else:
            return value
        return None


class _Float(GoType):
    def __init__(self, name: str, most: float) -> None:
        self.name = name
        self._most = most

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            state.save(WrongType(kind_of(value), self.name))
            return None
        if abs(value) > self._most:
            text = value.text if isinstance(value, Literal) else str(value)
            state.save(WrongType(f"number {text}", self.name))
            return None
        return float(value) if isinstance(value, float) else value


class _Any(GoType):
    """`any` and `json.RawMessage`: takes everything."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value as it is."""
        return plain(value)


def plain(value: JsonValue) -> JsonValue:
    """Return a value without `Literal`: floats are floats."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return float(value) if isinstance(value, Literal) else value


STRING = _Simple("string", str)
BOOL = _Simple("bool", bool)
INT = _Int()
FLOAT64 = _Float("float64", sys.float_info.max)
FLOAT32 = _Float("float32", 3.4028234663852886e38)
ANY = _Any("interface {}")
RAW = _Any("json.RawMessage")


class Slice(GoType):
    """`[]T`, or a type that is one."""

    def __init__(self, inner: GoType, name: str = "") -> None:
        self.name: str = name or f"[]{inner.name}"
        self._inner = inner

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if not isinstance(value, list):
            state.save(WrongType(kind_of(value), self.name))
            return None
        return [None if one is None else self._inner.put(one, state) for one in value]


class Map(GoType):
    """`map[string]T`."""

    def __init__(self, inner: GoType) -> None:
        self.name: str = f"map[string]{inner.name}"
        self._inner = inner

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if not isinstance(value, Mapping):
            state.save(WrongType(kind_of(value), self.name))
            return None
        return {
            key: None if one is None else self._inner.put(one, state) for key, one in value.items()
        }


class Struct(GoType):
    """A struct: its fields by their JSON names.

    Args:
        name: With its package, such as "api.ChatRequest", or all of a type without a name.
        fields: The types of the fields.
        keeps_unknown: Whether the result also has the fields that Go drops.
    """

    def __init__(
        self, name: str, fields: Mapping[str, GoType], *, keeps_unknown: bool = False
    ) -> None:
        self.name = name
        self._keeps_unknown = keeps_unknown
        self.define(fields)

    def define(self, fields: Mapping[str, GoType]) -> None:
        """Say what the fields are; for a struct that holds itself."""
        self._fields = fields
        self._folded = {name.casefold(): name for name in fields}

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if not isinstance(value, Mapping):
            state.save(WrongType(kind_of(value), self.name))
            return None
        outer = state.struct, state.path
        found: dict[str, JsonValue] = {}
        for key, one in value.items():
            name = key if key in self._fields else self._folded.get(key.casefold())
            if name is None and self._keeps_unknown:
                found[key] = plain(one)
            if name is None or one is None:
                continue
            state.struct = "" if self.name.startswith("struct {") else self.name.rpartition(".")[2]
            state.path = (*outer[1], name)
            found[name] = self._fields[name].put(one, state)
            state.struct, state.path = outer
        return found


def anonymous_struct(fields: Mapping[str, GoType]) -> Struct:
    """Return a struct without a name, which Go calls by all that is in it."""
    inner = "; ".join(
        f"{_go_name(name)} {field.name} {quoted(f'json:{quoted(name)}')}"
        for name, field in fields.items()
    )
    return Struct(f"struct {{ {inner} }}", fields)


def _go_name(name: str) -> str:
    return "".join({"id": "ID"}.get(word, word.capitalize()) for word in name.split("_"))


class CustomType(GoType):
    """A type with an `UnmarshalJSON` of its own, which stops at its first error."""

    def __init__(self, name: str, read: Callable[[JsonValue], JsonValue]) -> None:
        self.name = name
        self._read = read

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return what the type makes of the value, or stop."""
        try:
            return self._read(value)
        except GoError as error:
            raise _Stopped(state.placed(error)) from error


def itself(struct: Struct) -> CustomType:
    """Return a struct that unmarshals itself by way of another one."""
    return CustomType(struct.name, lambda value: unmarshal(value, struct))


# `wk8/go-ordered-map`, in which Ollama keeps arguments and properties, reads by another parser.
NOT_AN_OBJECT = "Value looks like object, but can't find closing '}' symbol"


def ordered_map(inner: GoType) -> CustomType:
    """Return a map that keeps its order."""

    def read(value: JsonValue) -> JsonValue:
        if not isinstance(value, Mapping):
            raise GoError(NOT_AN_OBJECT)
        return {key: unmarshal(one, inner) for key, one in value.items()}

    return CustomType("orderedmap", read)


class Base64(GoType):
    """`[]byte` of some name: a string of base64, which stays one; see `decode_base64`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, value: JsonValue, state: _State) -> JsonValue:
        """Return the value, or save why it does not fit."""
        if not isinstance(value, str):
            state.save(WrongType(kind_of(value), self.name))
            return None
        try:
            decode_base64(value)
        except GoError as error:
            state.save(error)
        return value


_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_LINE_BREAKS = b"\r\n"


def decode_base64(text: str) -> bytes:
    """Return what base64 stands for; Go lets line breaks be.

    Raises:
        GoError: It is not base64; names the byte as Go does.
    """
    data = text.encode(errors="replace")
    joined = data.translate(None, _LINE_BREAKS)
    if not _BASE64.fullmatch(joined):
        raise GoError(f"illegal base64 data at input byte {_corrupt_at(data)}")
    return base64.b64decode(joined)


def _corrupt_at(data: bytes) -> int:
    """Return the byte at which Go gives up, which reads groups of four."""
    at = filled = 0  # where it is, and how many of the group it has
    while at < len(data):
        byte = data[at]
        at += 1
        if byte in _LINE_BREAKS:
            continue
        if chr(byte).isascii() and (chr(byte).isalnum() or byte in b"+/"):
            filled = (filled + 1) % 4
            continue
        if byte != ord("=") or filled < 2:
            return at - 1
        if filled == 2:
            at = _past_line_breaks(data, at)
            if at == len(data):
                return at
            if data[at] != ord("="):
                return at - 1
            at += 1
        return _past_line_breaks(data, at)  # padding is the end; what follows is wrong
    return at - filled


def _past_line_breaks(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in _LINE_BREAKS:
        at += 1
    return at


_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LONGEST = (1 << 63) - 1
_STEP = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>[^0-9.]*)")


def _quoted_by_time(text: str) -> str:
    """Return text as the package `time` quotes it: bytes beyond ASCII by their numbers."""
    parts = (
        f"\\{chr(byte)}"
        if byte in b'"\\'
        else chr(byte)
        if 0x20 <= byte < 0x80
        else f"\\x{byte:02x}"
        for byte in text.encode(errors="replace")
    )
    return f'"{"".join(parts)}"'


def read_duration(text: str) -> float:
    """Return the seconds of one of Go's durations, such as "1h30m".

    Raises:
        GoError: It is none.
    """
    given = _quoted_by_time(text)
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    total = 0
    if not rest:
        raise GoError(f"time: invalid duration {given}")
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise GoError(f"time: invalid duration {given}")
        unit = step["unit"]
        if not unit:
            raise GoError(f"time: missing unit in duration {given}")
        if unit not in _UNITS:
            raise GoError(f"time: unknown unit {_quoted_by_time(unit)} in duration {given}")
        whole, _, fraction = step["number"].partition(".")
        total += int(whole or 0) * _UNITS[unit] + int(float(f"0.{fraction or 0}") * _UNITS[unit])
        if total > _LONGEST:
            raise GoError(f"time: invalid duration {given}")
        rest = rest[step.end() :]
    return (-total if text.startswith("-") else total) / 1e9
