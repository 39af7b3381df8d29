"""Plain technical English in all that a person reads: the patterns that a program can find."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("sql", "torc_server", "docs", "deploy", "examples", "benchmarks", "openapi")
READ = [f"{folder}/**/*" for folder in FOLDERS] + ["Makefile", "*.md"]
ENDINGS = {".sql", ".py", ".md", ".j2", ".html", ".sh", ".toml", ".yaml", ".env", ".js", ""}
FROZEN = ("sql/migrations/", "benchmarks/decisions/")  # released; copies of former code
PATTERNS = {
    r"\banew\b": "again",
    r"\b[Ww]hoever\b": "name the actor: the caller, the worker, the user",
    r"\bso called\b": "called so",
    r"\b[Nn]obody has said\b": "it was never set",
    r"\bof (?:its|their) own\b": "its own …, a separate …",
    r"\bstands?\b": "is, means",
    r"\bhand(?:s|ed|ing)? out\b": "claim, give",
    r"\b(?:a|one) look\b(?!-)": "a query, a look-up",
    r"\bempty hands\b": "without a job, without a lock",
}


def _files():
    for pattern in READ:
        for path in ROOT.glob(pattern):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in ENDINGS and path.is_file() and not name.startswith(FROZEN):
                yield name, path.read_text()


def test_texts_have_none_of_the_patterns_to_avoid():
    found = [
        f"{name}:{number}: {line.strip()} (rather: {better})"
        for name, text in _files()
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, better in PATTERNS.items()
        if re.search(pattern, line)
    ]
    assert found == []
