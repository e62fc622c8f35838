"""Write the JSON schema of each file in config/, for editors: `python -m passgate.settings.schema [--check]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from passgate.settings.calendar import CalendarFile
from passgate.settings.load import FILES
from passgate.settings.place import config_dir
from passgate.settings.rules import Policy
from passgate.settings.schedules import ScheduleFile
from passgate.settings.values import Settings


def schemas() -> dict[str, str]:
    """Return file name -> text of each schema."""
    shapes: dict[str, type[Settings]] = {**FILES, "policy": Policy, "calendar": CalendarFile, "schedules": ScheduleFile}
    return {
        f"{name}.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape.model_json_schema()}, indent=2
        )
        + "\n"
        for name, shape in shapes.items()
    }


def outdated(folder: Path) -> list[str]:
    """Return the names of the schemas in that folder that are missing, superfluous or differ from the settings."""
    wanted = schemas()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the schemas into config/schema, or with `--check` say which differ."""
    folder = config_dir() / "schema"
    if "--check" in arguments:
        names = outdated(folder)
        if names:
            sys.stderr.write(f"{folder}: {', '.join(names)} differ. Run: python -m passgate.settings.schema\n")
        return 1 if names else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
