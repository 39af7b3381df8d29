"""The part of docs/ that is made from the code: `make doc-files` writes it, tests/test_docs.py compares it."""

import re
from dataclasses import fields
from pathlib import Path

from torc_server.cli import run
from torc_server.settings import Settings

SETTINGS = Path(__file__).parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- made by `make doc-files` -->\n", "<!-- end -->\n"


def settings_table():
    """One row for each setting, in the order of `torc-server run --help`."""
    settings = Settings()
    rows = ["| key | option | default | |\n|---|---|---|---|\n"]
    for parameter in run.params:
        if parameter.name not in {field.name for field in fields(settings)}:
            continue
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        default = parameter.show_default if isinstance(parameter.show_default, str) else None
        if default is None:
            default = _shown(getattr(settings, parameter.name))
        told = (parameter.help or f"{', '.join(parameter.type.choices)}.").replace("|", r"\|")
        rows.append(f"| `{parameter.name}` | {names} | {default} | {told} |\n")
    return "".join(rows)


def _shown(value):
    if value is None or value == ():
        return "–"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`"


def settings_page():
    """docs/settings.md with the table of the code."""
    text = SETTINGS.read_text()
    return re.sub(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: settings_table(), text, flags=re.S)


if __name__ == "__main__":
    SETTINGS.write_text(settings_page())
    print("docs/settings.md")
