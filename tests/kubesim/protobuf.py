"""As much of protobuf as kubectl makes necessary: OpenAPI version 2 is only fetched in it, and typed clients post it.

Field numbers are those of the published .proto files (openapi v2 of gnostic, and Kubernetes' generated.proto).
"""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from tests.kubesim import schema, status
from tests.kubesim.schema import Shape, Struct

Json = dict[str, Any]
MAGIC: Final = b"k8s\x00"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, value: bytes | str | bool) -> bytes:
    """Return a length-delimited field, or a varint for a bool."""
    if isinstance(value, bool):
        return _varint(number << 3) + _varint(int(value))
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def openapi_v2(version: str, definitions: dict[str, Json], paths: Json) -> bytes:
    """Return a swagger 2.0 document with these definitions and paths."""
    info = _field(1, "Kubernetes") + _field(2, version)
    named = b"".join(_field(2, _field(1, path) + _field(2, _path_item(item))) for path, item in paths.items())
    entries = b"".join(_field(1, _field(1, name) + _field(2, _schema(d))) for name, d in definitions.items())
    return _field(1, "2.0") + _field(2, info) + _field(8, named) + _field(9, entries)


_METHODS: Final = {"get": 3, "put": 4, "post": 5, "delete": 6, "patch": 9}


def _path_item(item: Json) -> bytes:
    return b"".join(_field(_METHODS[method], _operation(operation)) for method, operation in item.items())


def _operation(operation: Json) -> bytes:
    response = _field(1, _field(1, _field(1, "OK")))
    out = b"".join(_field(8, _parameter(p["name"])) for p in operation["parameters"])
    out += _field(9, _field(1, _field(1, "200") + _field(2, response)))
    for name in ("x-kubernetes-action", "x-kubernetes-group-version-kind"):
        out += _field(13, _extension(name, operation[name]))
    return out


def _parameter(name: str) -> bytes:
    query = _field(4, name) + _field(2, "query") + _field(6, "string")
    return _field(1, _field(2, _field(3, query)))


def _extension(name: str, value: Any) -> bytes:
    # NamedAny{name, Any{yaml}}: the reader parses the YAML, and JSON is YAML.
    return _field(1, name) + _field(2, _field(2, json.dumps(value)))


def _schema(schema: Json) -> bytes:
    out = b""
    for inner in schema.get("allOf", []):
        out += _field(1, inner["$ref"].replace("#/components/schemas/", "#/definitions/"))
    if "$ref" in schema:
        out += _field(1, schema["$ref"].replace("#/components/schemas/", "#/definitions/"))
    out += _schema_texts(schema)
    if "additionalProperties" in schema:
        out += _field(21, _field(1, _schema(schema["additionalProperties"])))
    if "type" in schema and "allOf" not in schema:
        out += _field(22, _field(1, schema["type"]))
    if "items" in schema:
        out += _field(23, _field(1, _schema(schema["items"])))
    if "properties" in schema:
        pairs = (
            _field(1, _field(1, name) + _field(2, _schema(p))) for name, p in schema["properties"].items()
        )
        out += _field(25, b"".join(pairs))
    return out + b"".join(_field(31, _extension(n, v)) for n, v in schema.items() if n.startswith("x-"))


def _schema_texts(schema: Json) -> bytes:
    out = b""
    for key, number in (("format", 2), ("description", 4)):
        if schema.get(key):
            out += _field(number, schema[key])
    return out + b"".join(_field(19, name) for name in schema.get("required", []))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Iterate over a message's fields.

    Raises:
        ApiError: 400, it breaks off or has a wire type that is not used here.
    """
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        if tag & 7 == 0:
            value, position = _read_varint(data, position)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, position = _read_varint(data, position)
            if position + length > len(data):
                raise status.bad_request("protobuf: a field is longer than its message")
            yield tag >> 3, data[position : position + length]
            position += length
        else:
            raise status.bad_request(f"protobuf: wire type {tag & 7} is not read here")


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
    raise status.bad_request("protobuf: a number breaks off")


_KEPT_ZEROS: Final = frozenset(
    [
        "replicas",
        "gracePeriodSeconds",
        "terminationGracePeriodSeconds",
        "backoffLimit",
        "parallelism",
        "completions",
        "partition",
        "ttlSecondsAfterFinished",
        "revisionHistoryLimit",
        "leaseTransitions",
        "activeDeadlineSeconds",
        "runAsUser",
        "runAsGroup",
        "fsGroup",
        "suspend",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "allowPrivilegeEscalation",
        "runAsNonRoot",
        "optional",
        "immutable",
        "defaultMode",
        "mode",
        "value",
    ]
)
"""Fields that are pointers in Go: they are only sent when set, so that their zero means something. All others are always
sent, and their zero means that they were left out."""


def decode(body: bytes) -> Json:
    """Return the object in a `application/vnd.kubernetes.protobuf` body.

    Raises:
        ApiError: 400 malformed, 415 a kind without a schema, which is only read as JSON here.
    """
    if not body.startswith(MAGIC):
        raise status.bad_request("the body is not protobuf in Kubernetes' envelope")
    envelope = dict(fields(body[len(MAGIC) :]))
    type_meta = dict(fields(_bytes(envelope.get(1, b""))))
    api_version, kind = (_bytes(type_meta.get(n, b"")).decode() for n in (1, 2))
    group, _, version = api_version.rpartition("/")
    struct = schema.struct_of(group, version, kind)
    if struct is None and kind == "DeleteOptions":
        struct = schema.find(kind, schema.META)
    if struct is None:
        raise status.unsupported_media_type("application/json, application/yaml")
    return {"apiVersion": api_version, "kind": kind} | _struct(_bytes(envelope.get(2, b"")), struct, ())


def _struct(data: bytes, struct: Struct, prefix: tuple[int, ...]) -> Json:
    """Decode a message, or with a prefix one that is inlined in JSON."""
    found: Json = {}
    for number, value in fields(data):
        path = (*prefix, number)
        name = struct.numbers.get(path)
        if name is not None:
            _put(found, name, value, struct.fields[name])
        elif any(known[: len(path)] == path for known in struct.numbers):
            found |= _struct(_bytes(value), struct, path)
    return found


def _put(found: Json, name: str, value: int | bytes, shape: Shape) -> None:
    if shape.form == "list":
        found.setdefault(name, []).append(_value(value, shape.item or schema.ANY))
    elif shape.form == "map":
        entry = dict(fields(_bytes(value)))
        key = _bytes(entry.get(1, b"")).decode()
        found.setdefault(name, {})[key] = _value(entry.get(2, b""), shape.item or schema.ANY)
    else:
        decoded = _value(value, shape)
        if decoded or isinstance(decoded, dict) or (decoded is not None and name in _KEPT_ZEROS):
            found[name] = decoded


def _value(value: int | bytes, shape: Shape) -> Any:
    if shape.form == "struct":
        return _struct(_bytes(value), schema.find(shape.struct, shape.package), ())
    if shape.form == "list":
        # Lists as values of maps are messages that hold the list as field 1.
        return [_value(item, shape.item or schema.ANY) for _, item in fields(_bytes(value))]
    if shape.scalar == "bool":
        return bool(value)
    if shape.scalar in ("int", "int64"):
        assert isinstance(value, int)
        return value - 2**64 if value >= 2**63 else value
    return _SPECIAL.get(shape.scalar, _text)(_bytes(value))


def _text(data: bytes) -> str:
    return data.decode()


def _time(data: bytes) -> str | None:
    parts = dict(fields(data))
    seconds, nanos = parts.get(1, 0), parts.get(2, 0)
    assert isinstance(seconds, int)
    assert isinstance(nanos, int)
    if not seconds:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    fraction = f".{nanos // 1000:06}" if nanos else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def _micro_time(data: bytes) -> str | None:
    text = _time(data)
    return text[:-1] + ".000000Z" if text and "." not in text else text


def _quantity(data: bytes) -> str:
    return _bytes(dict(fields(data)).get(1, b"")).decode()


def _int_or_string(data: bytes) -> int | str | None:
    parts = dict(fields(data))
    if parts.get(1):
        return _bytes(parts.get(3, b"")).decode()
    number = parts.get(2, 0)
    assert isinstance(number, int)
    # A zero is what Go sends for a field that was left out.
    return number or None


def _anything(data: bytes) -> Any:
    """Return raw JSON (FieldsV1 and RawExtension hold it as field 1), or nothing where it is something else."""
    raw = dict(fields(data)).get(1, b"")
    return json.loads(raw) if isinstance(raw, bytes) and raw.startswith(b"{") else {}


_SPECIAL: Final[dict[str, Callable[[bytes], Any]]] = {
    "bytes": lambda data: base64.b64encode(data).decode(),
    "time": _time,
    "microtime": _micro_time,
    "quantity": _quantity,
    "intstr": _int_or_string,
    "any": _anything,
}


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise status.bad_request("protobuf: a number stands where a text belongs")
    return value
