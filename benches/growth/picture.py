"""Curves on log-log axes as SVG, without any library."""
import math
from html import escape

WIDTH, HEIGHT = 780, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 64, 46
INK, PALE, GRID, LINE = "#24292f", "#57606a", "#e3e6ea", "#0b62c4"


class Axis:
    """From values to pixels. `low` and `high` are values, `start` and `end` the pixels that they get."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = math.log(low), math.log(high), start, end

    def __call__(self, value):
        return self.start + (math.log(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def steps(low, high):
    """1, 2 and 5 times the powers of ten from below `low` to above `high`, and those of them that get a label."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [m * 10.0 ** e for e in range(first, last + 1) for m in (1, 2, 5)]
    below = max((s for s in every if s <= low * 1.0001), default=every[0])
    above = min((s for s in every if s >= high * 0.9999), default=every[-1])
    inside = [s for s in every if below * 0.9999 <= s <= above * 1.0001]
    labelled = inside if len(inside) <= 7 else [s for s in inside if f"{s:e}"[0] == "1"]
    return inside, labelled


def text(x, y, content, size=12, anchor="middle", fill=INK, more=""):
    where = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {where} fill="{fill}"{more}>{escape(content)}</text>'


def line(x1, y1, x2, y2, stroke, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{more}/>'


def panel(left, width, title, x_label, points, guide):
    """`points`: x, y and the label of x. `guide` draws a line proportional to x through the last point."""
    x0, x1, y0, y1 = left + LEFT, left + width - RIGHT, HEIGHT - BOTTOM, TOP
    # A logarithm wants something above zero; so little memory is none.
    points = [(x, max(y, 0.1), label) for x, y, label in points]
    values = [y for _, y, _ in points]
    low, high = min(values), max(values)
    if high < low * 2:  # else the noise of a flat curve would fill the picture
        low, high = low / 2, high * 2
    inside, labelled = steps(low, high)
    across = Axis(points[0][0] / 1.15, points[-1][0] * 1.15, x0, x1)
    up = Axis(inside[0], inside[-1], y0, y1)
    out = []
    for s in inside:
        out.append(line(x0, up(s), x1, up(s), GRID))
        if s in labelled:
            out.append(text(x0 - 7, up(s) + 4, f"{s:g}" if s < 1e4 else f"{s / 1e3:g}k", 11, "end", PALE))
    free_to = WIDTH + 99  # from the right: where not all labels have room, the last one has
    for x, _, label in reversed(points):
        half = 3.2 * len(label) + 2
        if across(x) + half <= free_to:
            out += [line(across(x), y0, across(x), y0 + 4, PALE), text(across(x), y0 + 17, label, 11, fill=PALE)]
            free_to = across(x) - half
    out.append(f'<path d="M{x0} {y1}V{y0}H{x1}" fill="none" stroke="{PALE}"/>')
    out.append(text((x0 + x1) / 2, HEIGHT - 10, x_label))
    out.append(text(x0, TOP - 10, title, anchor="start", more=' font-weight="bold"'))
    if guide:
        (last_x, last_y, _), least_x = points[-1], max(points[0][0], points[-1][0] * inside[0] / points[-1][1])
        dashed = ' stroke-dasharray="4 4"'
        out.append(line(across(least_x), up(last_y * least_x / last_x), across(last_x), up(last_y), PALE, dashed))
        out += [line(x1 - 96, TOP - 14, x1 - 74, TOP - 14, PALE, dashed),
                text(x1, TOP - 10, "proportional", 11, "end", PALE)]
    places = [(across(x), up(y)) for x, y, _ in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    out.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2"/>')
    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{LINE}"/>' for x, y in places]
    return out


def draw(title, subtitle, panels):
    """The text of an SVG file with the panels side by side."""
    width = WIDTH / len(panels)
    # With a background of its own it can be read on dark pages, too.
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
           f"<title>{escape(title)}: {escape('; '.join(p['title'] for p in panels))}</title>",
           f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
           text(16, 24, title, 15, "start", more=' font-weight="bold"'),
           text(WIDTH - 16, 24, subtitle, 11, "end", PALE)]
    for i, p in enumerate(panels):
        out += panel(i * width, width, **p)
    return "\n".join(out + ["</svg>\n"])
