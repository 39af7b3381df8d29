"""Comments and docstrings name files that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("sql", "torc_server", "tests", "docs", "deploy", "benchmarks", "examples", "openapi")
ENDINGS = {".py", ".sql", ".sh", ".toml", ".html", ".j2", ""}
FROZEN = ("sql/migrations/", "benchmarks/decisions/")  # released; copies of former code
NAME = re.compile(rf"(?<![\w/.{{])((?:{'|'.join(FOLDERS)})/[\w/-]+\.(?:sql|py|md|toml|yaml|sh))\b")
PATTERNS = {"sql/migrations/NNNN_name.sql"}  # for what is to be made


def test_each_file_that_code_names_is_there():
    found = {}
    for folder in FOLDERS:
        for path in ROOT.joinpath(folder).rglob("*"):
            place = path.relative_to(ROOT).as_posix()
            if path.suffix in ENDINGS and path.is_file() and not place.startswith(FROZEN):
                found |= dict.fromkeys(NAME.findall(path.read_text(errors="replace")), place)
    assert len(found) > 20
    assert {name: place for name, place in found.items() if name not in PATTERNS and not (ROOT / name).exists()} == {}
