"""The types of the API's objects: one source for validation, merge keys, field ownership and OpenAPI.

The types stand in `schemas/*.txt`, in this notation:

    [package]                         what follows belongs to this package
    Name = field=2:type other=1.3!:type
                                      a struct; behind `=` the field's number in protobuf (1.3: field 3 of the
                                      message that is field 1 and does not show in JSON), `!` marks a required one
    Name* = ...                       a struct that is owned as a whole (atomic)

    string bytes int int64 number bool time microtime quantity intstr any      scalars; `any` takes everything
    Other                             a struct, looked up in the own package first, then in all
    [type]  {type}                    a list, a map with string keys
    [type]@name,other                 a list that is merged by these keys
    [type]@name-  [type]@~name        merged by key only by server-side apply, only by strategic merge patch
    [type]@set                        a list that is a set
    type+retain                       strategic merge patches may carry $retainKeys
    {type}*                           a map that is owned as a whole
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

_FIELD: Final = re.compile(
    r"(?P<name>[\w$]+)(?:=(?P<number>[\d.]+))?(?P<required>!?):(?P<type>[^@+*\s]+)(?P<marks>\S*)\Z"
)
SCALARS: Final = frozenset(
    "string bytes int int64 number bool time microtime quantity intstr any".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of a value.

    Attributes:
        form: `scalar`, `list`, `map` or `struct`.
        scalar: the scalar's name, where the form is `scalar`.
        item: the type of a list's or map's values.
        struct: the struct's name, where the form is `struct`.
        package: where the struct's name is looked up first.
        keys: the fields that tell a list's items apart for server-side apply.
        patch_key: the one that does for strategic merge patches.
        is_set: whether a list is a set.
        atomic: whether the value has only one owner.
        retain: whether strategic merge patches may carry `$retainKeys`.
    """

    form: str
    scalar: str = ""
    item: "Shape | None" = None
    struct: str = ""
    package: str = ""
    keys: tuple[str, ...] = ()
    patch_key: str = ""
    is_set: bool = False
    atomic: bool = False
    retain: bool = False

    def fields(self) -> "dict[str, Shape]":
        """Return the struct's fields; empty for every other form."""
        return find(self.struct, self.package).fields if self.form == "struct" else {}

    def child(self, name: str) -> "Shape":
        """Return the type of a struct's field or a map's value; `any` where it is not known."""
        if self.form == "struct":
            return self.fields().get(name, ANY)
        return self.item if self.form == "map" and self.item else ANY

    @property
    def is_atomic(self) -> bool:
        """Whether the value has only one owner as a whole."""
        if self.form == "struct":
            return self.atomic or find(self.struct, self.package).atomic
        if self.form == "list":
            return not self.keys and not self.is_set
        return self.atomic or self.form == "scalar"


ANY: Final = Shape("scalar", scalar="any")


@dataclass(slots=True)
class Struct:
    """A named type with fields."""

    name: str
    package: str
    atomic: bool
    fields: dict[str, Shape] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    numbers: dict[tuple[int, ...], str] = field(default_factory=dict)
    """Names by their path of protobuf field numbers."""

    @property
    def full_name(self) -> str:
        return f"{self.package}.{self.name}"


def find(name: str, package: str = "") -> Struct:
    """Return the struct `name`, from `package` where it has one of that name.

    Raises:
        KeyError: no package has it.
    """
    structs = _load()
    own = structs.get(f"{package}.{name}")
    if own is not None:
        return own
    return next(s for full, s in structs.items() if full.endswith(f".{name}"))


def struct_of(group: str, version: str, kind: str) -> Struct | None:
    """Return the type of a kind, or None where it has no schema and takes any content."""
    short = group.split(".")[0] or "core"
    return _load().get(f"io.k8s.api.{short}.{version}.{kind}")


def shape_of(group: str, version: str, kind: str) -> Shape:
    """Return the type of a kind; for one without a schema, metadata is typed and all else is open."""
    struct = struct_of(group, version, kind)
    if struct is None:
        return Shape("struct", struct="OpenObject", package=META)
    return Shape("struct", struct=struct.name, package=struct.package)


META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"


def structs() -> Iterator[Struct]:
    """Iterate over every type."""
    yield from _load().values()


@cache
def _load() -> dict[str, Struct]:
    found: dict[str, Struct] = {}
    for path in sorted((Path(__file__).parent / "schemas").glob("*.txt")):
        for struct in _parse(path.read_text("ascii")):
            found[struct.full_name] = struct
    return found


def _parse(text: str) -> Iterator[Struct]:
    package, struct = "", None
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        rest = line
        if line.startswith("["):
            package = line.strip("[]")
            continue
        if not line.startswith(" "):
            if struct is not None:
                yield struct
            name, _, rest = line.partition(" = ")
            struct = Struct(name.rstrip("*"), package, name.endswith("*"))
        assert struct is not None
        for token in rest.split():
            _add_field(struct, token)
    if struct is not None:
        yield struct


def _add_field(struct: Struct, token: str) -> None:
    match = _FIELD.match(token)
    assert match is not None, f"{struct.name}: {token!r} is not field:type"
    struct.fields[match["name"]] = _shape(match["type"], match["marks"], struct.package)
    if match["number"]:
        struct.numbers[tuple(map(int, match["number"].split(".")))] = match["name"]
    if match["required"]:
        struct.required.append(match["name"])


def _shape(text: str, marks: str, package: str) -> Shape:
    retain = marks.endswith("+retain")
    marks = marks.removesuffix("+retain")
    if text[0] == "[":
        keys, patch_key = _list_keys(marks.removeprefix("@"))
        item = _shape(text[1:-1], "", package)
        is_set = marks == "@set"
        return Shape("list", item=item, keys=keys, patch_key=patch_key, is_set=is_set, retain=retain)
    if text[0] == "{":
        return Shape("map", item=_shape(text[1:-1], "", package), atomic=marks == "*")
    if text in SCALARS:
        return Shape("scalar", scalar=text)
    return Shape("struct", struct=text, package=package, retain=retain)


def _list_keys(marks: str) -> tuple[tuple[str, ...], str]:
    """Return the keys for server-side apply and the one for strategic merge patches."""
    if marks in ("", "set"):
        return (), ""
    if marks.startswith("~"):
        return (), marks[1:]
    if marks.endswith("-"):
        return (marks[:-1],), ""
    keys = tuple(marks.split(","))
    return keys, keys[0]


def unknown_fields(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """Iterate over the paths of fields that the type does not have, such as `spec.containers[0].imgae`."""
    if shape.form == "struct" and isinstance(value, dict):
        known = shape.fields()
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if name not in known:
                yield here
            else:
                yield from unknown_fields(inner, known[name], here)
    elif shape.form == "map" and isinstance(value, dict) and shape.item:
        for name, inner in value.items():
            yield from unknown_fields(inner, shape.item, f"{path}.{name}")
    elif shape.form == "list" and isinstance(value, list) and shape.item:
        for index, inner in enumerate(value):
            yield from unknown_fields(inner, shape.item, f"{path}[{index}]")


def prune(value: Any, shape: Shape) -> Any:
    """Return `value` without unknown fields and without nulls, as decoding into the type would leave it."""
    if shape.form == "struct" and isinstance(value, dict):
        known = shape.fields()
        return {k: prune(v, known[k]) for k, v in value.items() if k in known and v is not None}
    if shape.form == "map" and isinstance(value, dict) and shape.item:
        item = shape.item
        return {k: prune(v, item) for k, v in value.items()}
    if shape.form == "list" and isinstance(value, list) and shape.item:
        item = shape.item
        return [prune(v, item) for v in value]
    return value


_GO_NAMES: Final = {
    "string": "string", "bytes": "[]uint8", "int": "int32", "int64": "int64", "bool": "bool", "time": "Time",
}  # fmt: skip


def type_error(value: Any, shape: Shape, path: str = "") -> tuple[str, str, str] | None:
    """Return (path, what was found, the Go type expected) of the first value of a wrong JSON type, or None."""
    if value is None:
        return None
    found = _json_name(value)
    if shape.form in ("struct", "map"):
        if not isinstance(value, dict):
            return path, found, shape.struct or "map[string]string"
        # Go names the field, not the key of a map in it.
        steps = ((f"{path}.{k}".strip(".") if shape.form == "struct" else path, k) for k in value)
        pairs = [(step, value[k], shape.child(k)) for step, k in steps]
    elif shape.form == "list":
        if not isinstance(value, list):
            return path, found, "[]" + (shape.item.struct or shape.item.scalar if shape.item else "")
        pairs = [(path, v, shape.item or ANY) for v in value]
    else:
        return None if _scalar_fits(value, shape.scalar) else (path, found, _GO_NAMES.get(shape.scalar, ""))
    return next((error for p, v, s in pairs if (error := type_error(v, s, p))), None)


def _scalar_fits(value: Any, scalar: str) -> bool:
    if scalar in ("string", "bytes", "time", "microtime"):
        return isinstance(value, str)
    if scalar in ("int", "int64"):
        return isinstance(value, int) and not isinstance(value, bool)
    if scalar == "bool":
        return isinstance(value, bool)
    if scalar in ("quantity", "intstr"):
        return isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return True


def _json_name(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    names: tuple[tuple[type, str], ...] = ((str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")
