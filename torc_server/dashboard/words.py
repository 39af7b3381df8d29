"""Numbers, times and statuses as people read them. All functions are for templates."""

import json
import time
from datetime import UTC, datetime

# The order in which bars and legends show statuses, each with its sign and word: colours alone do not tell.
STATUSES = {
    "completed": ("✓", "completed"),
    "failed": ("✕", "failed"),
    "terminated": ("■", "terminated"),
    "pending_failed": ("?", "failed, undecided"),
    "canceled": ("⊘", "canceled"),
    "running": ("▶", "running"),
    "pending": ("…", "claimed"),
    "ready": ("●", "ready"),
    "blocked": ("◌", "blocked"),
    "uninitialized": ("–", "not initialized"),
    "disabled": ("∥", "disabled"),
}
COMPLETE = ("completed", "failed", "canceled", "terminated")  # as torc.is_complete()
FAILED = ("failed", "terminated", "pending_failed")  # as torc.went_wrong()
STATES = {
    "active": ("▶", "running"),
    "new": ("–", "not initialized"),
    "stuck": ("◌", "waits"),
    "failed": ("✕", "ended with failures"),
    "done": ("✓", "done"),
    "canceled": ("⊘", "canceled"),
}

_BAR = 1000  # units that a bar is wide
_LEAST = 5  # units of a part, however few its jobs


def sign(status):
    """The sign of a status."""
    return STATUSES[status][0]


def word(status):
    """The word for a status."""
    return STATUSES[status][1]


def number(value):
    """12,345; at most one decimal below 10."""
    if value is None:
        return ""
    if isinstance(value, float) and value < 10 and value != int(value):
        return f"{value:.1f}"
    return f"{value:,.0f}"


def percent(part, whole):
    """How much of the whole, rounded down: 100 % is all of it."""
    return f"{100 * part // whole:.0f} %" if whole else ""


def duration(seconds):
    """3 d 4 h, 1 h 34 min, 27 min, 12 s, 0.4 s."""
    if seconds is None:
        return ""
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days > 99:
        return f"{days:,} d"
    for large, small, names in ((days, hours, "d h"), (hours, minutes, "h min"), (minutes, rest, "min s")):
        if large:
            name, small_name = names.split()
            return f"{large} {name} {small} {small_name}" if small and large < 10 else f"{large} {name}"
    return f"{rest} s"


def latency(seconds):
    """3.4 ms, 210 ms, 1.2 s."""
    if seconds is None:
        return ""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def since(seconds):
    """How long ago a time is, given in seconds since 1970: 2 h ago."""
    age = time.time() - seconds
    if age < 0:
        return "now"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if age >= unit:
            return f"{age // unit:,.0f} {name} ago"
    return f"{age:.0f} s ago"


def age(seconds):
    """The seconds that have passed since a time."""
    return max(0, time.time() - seconds)


def moment(seconds):
    """2026-11-27 14:02:05 UTC, of seconds since 1970."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(seconds):
    """2026-11-27T14:02:05+00:00."""
    return _utc(seconds).isoformat(timespec="seconds")


def _utc(seconds):
    return datetime.fromtimestamp(min(max(seconds, 0), 253402300799), UTC)


def size(value):
    """9.8 GiB, of bytes."""
    if value is None:
        return ""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def as_json(value):
    """A value as indented JSON."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def parts(counts):
    """The parts of a bar: (status, number, x, width), in units of a thousandth. Few jobs of many can still be seen."""
    total = sum(counts.values())
    shown = [(status, counts[status]) for status in STATUSES if counts.get(status)]
    widths = [max(_LEAST, _BAR * count / total) for _, count in shown]
    scale = _BAR / sum(widths) if widths else 1
    found, x = [], 0.0
    for (status, count), width in zip(shown, widths, strict=True):
        found.append((status, count, round(x, 1), round(width * scale, 1)))
        x += width * scale
    return found


def summary(counts):
    """76 completed, 4 failed: what a bar says to those who do not see it."""
    return ", ".join(f"{count:,} {word(status)}" for status, count, _, _ in parts(counts)) or "no jobs"


def done(counts):
    """How many jobs are complete."""
    return sum(counts.get(status, 0) for status in COMPLETE)


def failed(counts):
    """How many jobs failed, by themselves."""
    return sum(counts.get(status, 0) for status in FAILED)


def kind(edge):
    """What an edge of a graph comes from: explicit, file, data."""
    for name, key in (("data", "data"), ("file", "files")):
        if edge.get(key) and edge[key] >= edge["jobs"]:
            return name
    return "explicit"


def cut(text, length):
    """A text that is no longer than that."""
    return text if len(text) <= length else text[: length - 1] + "…"


def total(counts):
    return sum(counts.values())


FILTERS = (
    sign,
    word,
    number,
    duration,
    latency,
    since,
    age,
    moment,
    iso,
    size,
    as_json,
    summary,
    done,
    failed,
    total,
    cut,
    kind,
)
FUNCTIONS = (percent, parts)
CONSTANTS = {"STATUSES": STATUSES, "STATES": STATES}
