"""The part of the charts' schemas that follows the commands' settings: `python -m tests.charts.schema` writes it anew."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from agent.settings import AgentSettings
from stub.settings import StubSettings
from tests.charts.rendering import AGENT, CHARTS, STUB

CLASSES: dict[str, type[Any]] = {STUB: StubSettings, AGENT: AgentSettings}

LEFT_OUT = {
    STUB: {"lease-kubeconfig"},  # the Pods that are labelled are in the Lease's cluster
    AGENT: {"join", "name"},  # a secret does not belong into a ConfigMap; each Pod has a name of its own
}
"""Settings that no value of a chart reaches."""

TEXT = {"type": "string"}


def schema_path(chart: str) -> Path:
    """Where a chart has its schema."""
    return CHARTS / chart / "values.schema.json"


def read_schema(chart: str) -> dict[str, Any]:
    """A chart's schema as it is."""
    found: dict[str, Any] = json.loads(schema_path(chart).read_text())
    return found


def settings_schema(chart: str) -> dict[str, Any]:
    """What the value `settings` of a chart may hold: every setting that the templates do not set themselves."""
    cls = CLASSES[chart]
    hints = get_type_hints(cls)
    left_out = own_flags(chart) | LEFT_OUT[chart]
    keys = {field.name.replace("_", "-"): hints[field.name] for field in dataclasses.fields(cls)}
    properties = {key: _kind(hint) for key, hint in keys.items() if key not in left_out}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def own_flags(chart: str) -> set[str]:
    """The settings that a chart's templates give as flags or variables."""
    templates = "".join(path.read_text() for path in (CHARTS / chart / "templates").iterdir())
    flags = set(re.findall(r"- --([a-z-]+)", templates)) - {"config"}
    variables = re.findall(r"name: CTUN_([A-Z_]+)", templates)
    return flags | {name.lower().replace("_", "-") for name in variables}


def _kind(hint: Any) -> dict[str, Any]:
    if hint is bool:
        return {"type": "boolean"}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": TEXT}
    # A whole number is also how some settings hold a time, which is written with its unit.
    return {"type": ["integer", "string"]} if hint is int else TEXT


def write() -> None:
    """Bring both schemas up to date."""
    for chart in CLASSES:
        schema = read_schema(chart)
        schema["properties"]["settings"] = settings_schema(chart)
        schema_path(chart).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
