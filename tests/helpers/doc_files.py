"""What is made from the code: the table of docs/settings.md and the index of the stored functions. `make doc-files`
writes them, tests/deploy/test_docs.py compares them."""

import itertools
import re
from dataclasses import fields
from pathlib import Path

from torc_server.settings import Settings, default_of, flags_of, option_of

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- made by `make doc-files` -->\n", "<!-- end -->\n"
FUNCTIONS = ROOT / "sql" / "functions"
INDEX = FUNCTIONS / "README.md"
# What the folders of sql/functions hold, in the order in which one would read them.
FOLDERS = {
    "transitions": "What changes the status of jobs: initialize, start, complete, retry, cancel, reset.",
    "graph": "Dependencies between jobs: counters, release and cancellation of dependents, cycles, invariants.",
    "claims": "Which ready jobs a worker gets.",
    "references": "What jobs and results name without foreign keys: checks, and what follows a deletion.",
    "locks": "Advisory locks of workflows, and rows that are locked by several functions.",
    "actions": "Workflow actions, and the counters that trigger them.",
    "jobs": "Create, change, delete and spawn jobs; the JSON of a job.",
    "results": "Results of attempts.",
    "workflows": "Workflows, their run state and summary; workflows created or imported as a whole.",
    "nodes": "Compute nodes, scheduled ones, and nodes that are silent for too long.",
    "resources": "All other rows of a workflow: files, user data, requirements, schedulers, RO-Crate entities.",
    "events": "Stored events, and notifications of open event streams.",
    "tasks": "Work that is done after the answer.",
    "access": "Who may do what: authorization, groups, logins.",
    "admin": "For administrators: audit log, traffic, SQL, doctor, prune, metrics.",
    "dashboard": "What the pages of the dashboard show and do.",
    "common": "Errors, units, texts, forms of clients of several generations.",
}
_FUNCTION = re.compile(r"((?:^--.*\n)*)^CREATE (?:OR REPLACE )?FUNCTION torc\.(\w+)\(", re.M)


def settings_table():
    """One row for each setting, in the order of `torc-server run --help`."""
    rows = ["| key | option | default | |\n|---|---|---|---|\n"]
    for setting in fields(Settings):
        about = option_of(setting)
        names = ", ".join(f"`{name}`" for flags in flags_of(setting) for name in flags.split("/"))
        told = (about.help or f"{', '.join(about.choices)}.").replace("|", r"\|")
        rows.append(f"| `{setting.name}` | {names} | {about.shown_default or _shown(default_of(setting))} | {told} |\n")
    return "".join(rows)


def _shown(value):
    if value is None or value == ():
        return "–"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"`{value}`"


def settings_page():
    """docs/settings.md with the table of the code."""
    text = SETTINGS.read_text()
    return re.sub(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: settings_table(), text, flags=re.S)


def functions_index():
    """sql/functions/README.md: all stored functions by folder and file. Raises KeyError for a folder without a line in
    FOLDERS, a file outside of the folders too."""
    files = {folder: [] for folder in FOLDERS}
    for path in sorted(FUNCTIONS.rglob("*.sql")):
        files[path.parent.relative_to(FUNCTIONS).as_posix()].append(path)
    pages = [
        "# Stored functions\n\n"
        "All rules of the server, by capability. `make doc-files` makes the tables from the comments above the\n"
        "functions, of which they have the first sentence; the comments also say which locks a function takes and\n"
        "what it raises. How the functions work together is in [ARCHITECTURE.md](../../ARCHITECTURE.md).\n\n"
        f"Folders: {' · '.join(f'[{folder}](#{folder})' for folder in FOLDERS)}\n"
    ]
    for folder, told in FOLDERS.items():
        rows = [row for path in files[folder] for row in _rows(path)]
        pages.append(f"\n## {folder}\n\n{told}\n\n| file | function | |\n|---|---|---|\n{''.join(rows)}")
    return "".join(pages)


def _rows(path):
    found = {}  # the first one of functions with the same name
    for comment, name in _FUNCTION.findall(path.read_text()):
        found[name] = found.get(name) or _first_sentence(comment)
    file = f"[{path.name}]({path.relative_to(FUNCTIONS).as_posix()})"
    for number, (name, sentence) in enumerate(found.items()):
        yield f"| {'' if number else file} | `{name}` | {sentence} |\n"


def _first_sentence(comment):
    lines = [line.removeprefix("--") for line in comment.splitlines()]
    text = " ".join(line.strip() for line in itertools.takewhile(lambda line: not line.startswith("   "), lines))
    return re.split(r"(?<=\.) (?=[^a-z]|p_|\w+\()", text)[0].replace("|", r"\|")


if __name__ == "__main__":
    SETTINGS.write_text(settings_page())
    INDEX.write_text(functions_index())
    print("docs/settings.md sql/functions/README.md")
