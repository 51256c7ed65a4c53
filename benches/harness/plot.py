"""A line chart as SVG, as little as a page of results needs."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 80, 20, 40, 60
TICKS = 5
COLOURS = ("#b3261e", "#1e5fb3", "#3b7d23")


def chart(title, across, up, series):
    """`series[name]` = points (x, y). Both axes begin at 0, so that what is linear looks so."""
    furthest = max(x for points in series.values() for x, _ in points)
    highest = max(y for points in series.values() for _, y in points) * 1.1 or 1

    def place(x, y):
        return (LEFT + (WIDTH - LEFT - RIGHT) * x / furthest, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / highest)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, TOP / 2, title, 'text-anchor="middle" font-size="14"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across, 'text-anchor="middle"'),
        _text(14, HEIGHT / 2, up, f'text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})"'),
    ]
    for tick in range(TICKS + 1):
        x, y = place(furthest * tick / TICKS, highest * tick / TICKS)
        bottom, left = HEIGHT - BOTTOM, LEFT
        lines += [
            f'<path d="M{left} {y:.1f}H{WIDTH - RIGHT}M{x:.1f} {TOP}V{bottom}" stroke="#ddd"/>',
            _text(left - 6, y + 4, _number(highest * tick / TICKS), 'text-anchor="end"'),
            _text(x, bottom + 18, _number(furthest * tick / TICKS), 'text-anchor="middle"'),
        ]
    for at, (name, points) in enumerate(series.items()):
        colour, placed = COLOURS[at % len(COLOURS)], [place(*point) for point in points]
        lines.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in placed)}" fill="none" stroke="{colour}"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        lines.append(_text(LEFT + 10, TOP + 16 + 16 * at, name, f'fill="{colour}"'))
    return "\n".join([*lines, "</svg>", ""])


def _text(x, y, text, more):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{text}</text>'


def _number(value):
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"
