"""The shapes of charts, in the units of their SVG. Templates draw them."""

from datetime import UTC, datetime

AREA = (560, 150)  # width and height of the chart of jobs over time
LANE = (880, 26)  # width and height of a lane of the timeline
EDGE = 26  # units at both ends of an axis where no text has room
LEAST_WIDTH = 1.0  # of a job in a lane
STEPS_OF_AXIS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
    604800, 2592000,
)  # fmt: skip


def areas(series):
    """Stacked areas, the first at the bottom: a path for each of the lists of numbers, and what the top means."""
    width, height = AREA
    top = max((sum(column) for column in zip(*series, strict=True)), default=0) or 1
    below, paths = [0] * len(series[0]), []
    step = width / max(len(below) - 1, 1)
    for numbers in series:
        above = [low + number for low, number in zip(below, numbers, strict=True)]
        forth = [f"{i * step:.1f},{height - height * value / top:.1f}" for i, value in enumerate(above)]
        back = [f"{i * step:.1f},{height - height * value / top:.1f}" for i, value in enumerate(below)]
        paths.append("M" + " L".join([*forth, *reversed(back)]) + "Z")
        below = above
    return paths, top


def lane(jobs, start, end):
    """The rectangles of a node's jobs: (x, y, width, height, job); jobs at the same time are above each other.

    jobs: lists of id, name, status, started, ended, is_running, by start.
    """
    width, height = LANE
    scale = width / (end - start)
    rows, placed = [], []
    for job in jobs:
        began, ended = job[3], job[4]
        row = next((i for i, free in enumerate(rows) if free <= began + 0.001), len(rows))
        rows[row : row + 1] = [ended]
        placed.append((row, job))
    thickness = height / max(len(rows), 1)
    shapes = []
    for row, job in placed:
        left = max(job[3], start)
        x, long = (left - start) * scale, (min(job[4], end) - left) * scale
        gap = min(1, thickness / 5)
        shapes.append((round(x, 1), round(row * thickness, 1), round(max(long - 0.5, LEAST_WIDTH), 1),
                       round(thickness - gap, 1), job))  # fmt: skip
    return shapes


def steps(numbers, most, size=LANE):
    """The path of a step curve below which the area is filled: numbers up to `most`."""
    width, height = size
    step = width / len(numbers)
    points = "".join(
        f"V{height - height * min(number, most) / most:.1f}H{(i + 1) * step:.1f}" for i, number in enumerate(numbers)
    )
    return f"M0,{height}{points}V{height}Z"


def ticks(start, end, width=LANE[0], most=8):
    """Round times between two times: (x, text)."""
    step = next((step for step in STEPS_OF_AXIS if (end - start) / step <= most), STEPS_OF_AXIS[-1])
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
    first = start - start % step + step
    found = []
    while first < end and len(found) <= most:
        x = (first - start) * width / (end - start)
        if EDGE < x < width - EDGE:
            found.append((round(x, 1), datetime.fromtimestamp(first, UTC).strftime(pattern)))
        first += step
    return found


def place(moment, start, end, width=LANE[0]):
    """Where a time is on the axis; None if it is outside, or none."""
    if moment is None or not start <= moment <= end:
        return None
    return round((moment - start) * width / (end - start), 1)
