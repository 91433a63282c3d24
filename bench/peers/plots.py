"""Lines over a common axis, as one self-contained SVG."""

import html
import math

COLOURS = {"Plimsoll": "#0072b2", "Keras": "#d55e00", "PyTorch": "#009e73", "dlib": "#cc79a7"}
OTHERS = ["#e69f00", "#56b4e9", "#999999", "#000000"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 76, 28, 88, 56


def round_step(high, count):
    """A round number that divides `high` into about `count`."""
    rough = high / count
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)


def colour_of(label, taken):
    for name, colour in COLOURS.items():
        if label == name or label.startswith(name + ":"):
            return colour
    return OTHERS[taken % len(OTHERS)]


def draw(title, subtitle, across, up, lines, ticks=None, levels=None, logarithmic=False):
    """\\param lines {label: [(x, y)]} \\param ticks of the axis across; None: round numbers from 0 on
    \\param levels {label: y} dashed lines from side to side \\param logarithmic the axis across
    """
    levels = levels or {}
    xs = [x for points in lines.values() for x, _ in points] or [1]
    ys = [y for points in lines.values() for _, y in points] + list(levels.values()) or [1]
    step = round_step(max(ys) * 1.08, 6)
    high = step * math.ceil(max(ys) * 1.08 / step)
    if ticks is None:
        tick = round_step(max(xs) * 1.08, 8)
        low, most = 0, max(xs) * 1.08
        ticks = [tick * k for k in range(int(most / tick) + 1)]
    elif logarithmic:
        low, most = min(ticks) / 1.15, max(ticks) * 1.15
    else:
        margin = (max(ticks) - min(ticks)) * 0.06 or 1
        low, most = min(ticks) - margin, max(ticks) + margin

    def x(value):
        share = math.log(value / low) / math.log(most / low) if logarithmic else (value - low) / (most - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - value / high * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{html.escape(title)}</text>',
        f'<text x="{LEFT}" y="42" fill="#666">{html.escape(subtitle)}</text>',
    ]
    begin = LEFT
    for number, label in enumerate([*lines, *levels]):
        colour = colour_of(label, number)
        dashes = ' stroke-dasharray="6 4"' if label in levels else ""
        out += [
            f'<line x1="{begin}" x2="{begin + 22}" y1="60" y2="60" stroke="{colour}" stroke-width="2"{dashes}/>',
            f'<text x="{begin + 28}" y="64">{html.escape(label)}</text>',
        ]
        begin += 46 + 6.6 * len(label)
    for k in range(round(high / step) + 1):
        out += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(k * step):.1f}" y2="{y(k * step):.1f}" stroke="#e4e4e4"/>',
            f'<text x="{LEFT - 8}" y="{y(k * step) + 4:.1f}" text-anchor="end">{k * step:,g}</text>',
        ]
    for tick in ticks:
        out += [
            f'<path stroke="#333" d="M{x(tick):.1f} {HEIGHT - BOTTOM}v4"/>',
            f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:,g}</text>',
        ]
    for number, (label, value) in enumerate(levels.items(), len(lines)):
        out.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke-width="2" '
            f'stroke="{colour_of(label, number)}" stroke-dasharray="6 4"/>'
        )
    for number, (label, points) in enumerate(lines.items()):
        colour = colour_of(label, number)
        path = " L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)
        out.append(f'<path fill="none" stroke="{colour}" stroke-width="2" d="M{path}"/>')
        for a, b in points:
            out.append(
                f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5" fill="{colour}">'
                f"<title>{html.escape(label)}: {a:,.4g}, {b:,.1f}</title></circle>"
            )
    out += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}" stroke="#333"/>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{html.escape(across)}'
        "</text>",
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:.1f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(up)}</text>",
        "</svg>",
    ]
    return "\n".join(out) + "\n"
