"""The table of README.md and docs/performance.md: what Redhold costs and gives, as ratios, the losses in bold."""

import pathlib
import re

from .processes import Failed

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/performance.md")
BETWEEN = re.compile(r"(<!-- measured by benches/run --summary -->\n).*?(<!-- measured: end -->)", re.S)
# Title, key of the sample, divided by, whether more is better.
COLUMNS = [
    ("CPU of the proxy / best peer", "proxy_us", "peer", False),
    ("CPU of proxy and Redis / best peer", "sum_us", "peer", False),
    ("requests/s / best peer", "rps", "peer", True),
    ("requests/s / direct", "rps", "direct", True),
    ("p50 / direct", "p50_us", "direct", False),
    ("p99 / direct", "p99_us", "direct", False),
]


def write(samples, ours):
    """Replaces the table in both pages; Failed when one has no place for it."""
    table = "\n".join(_lines(samples, ours))
    for name in PAGES:
        page = ROOT / name
        text, count = BETWEEN.subn(lambda found: f"{found[1]}{table}\n{found[2]}", page.read_text())
        if count != 1:
            raise Failed(f"{name}: {count} places for the table, one is needed")
        page.write_text(text)
        print(f"written: {name}")


def _lines(samples, ours):
    lines = ["| | " + " | ".join(title for title, *_ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for tool, cases in samples.samples.items():
        for case, found in cases.items():
            # The better known tool counts where both did the case.
            better_known = tool == "load" and case in samples.samples.get("redis-benchmark", {})
            if ours in found and not better_known:
                cells = [_cell(samples, ours, tool, case, *column[1:]) for column in COLUMNS]
                lines.append(f"| {case} | {' | '.join(cells)} |")
    return lines


def _cell(samples, ours, tool, case, key, beside, more):
    """The ratio, and which peer; bold where it is lost to a peer. A proxy that is behind a direct connection is no loss."""
    # In an open loop the schedule decides how many requests there are.
    if key == "rps" and case.startswith("open"):
        return "–"
    base = samples.best_peer(tool, case, key, more) if beside == "peer" else beside
    if base is None or base not in samples.samples[tool][case] or not samples.rounds(tool, case, ours, key):
        return "–"
    ratio = samples.ratio(tool, case, ours, base, key)[0]
    if beside != "peer":
        return f"{ratio:.2f}"
    loses = ratio < 1 if more else ratio > 1
    text = f"{ratio:.2f} {base}"
    return f"**{text}**" if loses else text
