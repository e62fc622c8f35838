"""Write the page of all settings, from their types and descriptions."""

from __future__ import annotations

from pages.page import MARK, first_line
from pages.schema import fields
from passgate.settings.calendar import CalendarFile
from passgate.settings.load import FILES
from passgate.settings.rules import Policy
from passgate.settings.schedules import ScheduleFile
from passgate.settings.values import Settings

PLACES = """\
Passgate reads `config/` once, when it starts: `passgate down && passgate up` after an edit. A field that it does not
know is an error, and every error names file, line and field. `passgate doctor` tries what the files name.

Each file has a JSON schema in `config/schema/`, which editors use through the first line of the file.

**A reference** stands in place of a value: `{env: NAME}` for an environment variable of the service, `{file: path}` for
a file, looked up in Passgate's home when the path is relative. Secrets must be references.

**A duration** is written as `30s`, `90m`, `8h`, `1h30m` or `2d`.

**Environment variables**

- `PASSGATE_HOME`: where this machine keeps the database, the ledger's key, evidence, logs and process files. Left out:
  the nearest folder `.passgate` upwards, else `~/.passgate`.
- `PASSGATE_CONTENT`: the folder with `flows/`, `tasks/` and `config/`. Left out: the nearest such folder upwards, else
  the shipped one.
- `PASSGATE_CONFIG`: the config folder, where it is not `config/` in the content.
- `PASSGATE_TOKEN`: your personal token. Left out: the file `token` in the home.
- `PASSGATE_DEBUG`: set, an unforeseen failure of the command line shows its traceback.
"""
PAGES_OF = {"policy": "policies/*.yaml", "calendar": "calendar/*.yaml", "schedules": "schedules/*.yaml"}


def page() -> str:
    """Return the page."""
    shapes: dict[str, type[Settings]] = {**FILES, "policy": Policy, "calendar": CalendarFile, "schedules": ScheduleFile}
    parts = [f"## {PAGES_OF.get(name, f'{name}.yaml')}\n\n{_file(shape)}" for name, shape in shapes.items()]
    return "\n".join([f"# Config\n\n{MARK}\n{PLACES}", *parts])


def _file(shape: type[Settings]) -> str:
    schema = shape.model_json_schema()
    return f"{first_line(shape)}\n\n" + "\n".join(fields(schema, schema)) + "\n"
