"""Line plots as SVG.

By hand: two scales, some lines and a legend are 100 lines; matplotlib and numpy would be 60 MB for that, and their
output differs from version to version, which makes every new result a large diff.
"""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 50
COLORS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#bf3989", "#0a7d91")


def lines(title, x_label, y_label, series, log_y=False):
    """The text of an SVG file. series: {name: [(x, y), …]}; x is on a logarithmic scale, y begins at 0 unless log_y."""
    series = {name: sorted(points) for name, points in series.items() if points}
    xs = sorted({x for points in series.values() for x, _ in points})
    ys = [y for points in series.values() for _, y in points if y > 0] or [1]
    across = _log_scale(min(xs, default=1), max(xs, default=1), LEFT, WIDTH - RIGHT)
    if log_y:
        low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))
        ticks = [low * 10**i for i in range(round(math.log10(high / low)) + 1)]
        up = _log_scale(low, high, HEIGHT - BOTTOM, TOP)
    else:
        ticks = _ticks(max(ys))
        up = _linear_scale(ticks[-1], HEIGHT - BOTTOM, TOP)
    width = max(WIDTH, WIDTH - RIGHT + 50 + 7 * max(map(len, series), default=0))  # room for the legend
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#24292f">',
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, title, size=15),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label, "middle"),
        _text(LEFT - 60, TOP - 8, y_label),
    ]
    for tick in ticks:
        parts += [
            _line(LEFT, up(tick), WIDTH - RIGHT, up(tick), "#d0d7de"),
            _text(LEFT - 6, up(tick) + 4, _number(tick), "end"),
        ]
    for x in xs:
        parts += [
            _line(across(x), HEIGHT - BOTTOM, across(x), HEIGHT - BOTTOM + 5, "#57606a"),
            _text(across(x), HEIGHT - BOTTOM + 18, _number(x), "middle"),
        ]
    for number, (name, points) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        dashes = ' stroke-dasharray="6 3"' if number >= len(COLORS) else ""
        drawn = [(across(x), up(y if not log_y else max(y, ticks[0]))) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in drawn]
        beside = TOP + 8 + 18 * number
        parts += [
            _line(WIDTH - RIGHT + 12, beside, WIDTH - RIGHT + 32, beside, color, 2),
            _text(WIDTH - RIGHT + 38, beside + 4, name),
        ]
    return "\n".join([*parts, "</svg>", ""])


def _log_scale(low, high, start, end):
    span = math.log(high / low) or 1
    return lambda value: start + (end - start) * math.log(value / low) / span


def _linear_scale(high, start, end):
    return lambda value: start + (end - start) * value / high


def _ticks(highest):
    """Round numbers from 0 to above the highest value."""
    step = 10 ** math.floor(math.log10(highest / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if highest / (step * factor) <= 6)
    return [step * i for i in range(math.ceil(highest / step) + 1)]


def _number(value):
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _line(x1, y1, x2, y2, color, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def _text(x, y, text, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(str(text))}</text>'
