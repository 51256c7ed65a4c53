"""From samples to Markdown: medians, ratios within each round, and the rows that Redhold loses."""

import statistics

from . import goals

OURS = "redhold"
NOT_PEERS = ("direct", OURS)
QUANTILES = ("p50_us", "p99_us", "p999_us")
# name, key of the sample, True when more is better
METRICS = [
    ("requests/s", "rps", True),
    ("p50", "p50_us", False),
    ("p99", "p99_us", False),
    ("proxy CPU", "proxy_us", False),
    ("proxy + Redis CPU", "sum_us", False),
]


class Samples:
    """samples[tool][case name][target name] = one dict a round; refused[case name][target name] = what it said."""

    def __init__(self, samples, refused, order):
        """`order`: names of targets, others among them, as they shall stand in the tables."""
        self.samples, self.refused = samples, refused
        found = {name for cases in samples.values() for targets in cases.values() for name in targets}
        self.targets = [name for name in order if name in found]

    def rounds(self, tool, case, target, key):
        """One number a round; fewer when some rounds did not give this one."""
        return [sample[key] for sample in self.samples[tool][case].get(target, []) if key in sample]

    def median(self, tool, case, target, key):
        """NaN when no round gave the number."""
        return statistics.median(self.rounds(tool, case, target, key) or [float("nan")])

    def ratio(self, tool, case, target, base, key):
        """Median over the rounds of target/base: what slows a whole round down cancels out. And its extremes."""
        pairs = zip(self.rounds(tool, case, target, key), self.rounds(tool, case, base, key))
        ratios = [value / other for value, other in pairs if other]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else (float("nan"),) * 3

    def best_peer(self, tool, case, key, more_is_better):
        peers = [name for name in self.targets if name not in NOT_PEERS and name in self.samples[tool][case]]
        if not peers:
            return None
        choose = max if more_is_better else min
        return choose(peers, key=lambda name: self.median(tool, case, name, key))


def markdown(samples, facts, with_goals=False):
    """The whole page."""
    lines = [f"# Side by side, {facts['date']}", ""]
    lines += [f"* {key}: {value}" for key, value in facts.items() if key != "date"]
    lines += ["", EXPLANATION, ""]
    for tool in samples.samples:
        lines += [f"## {TITLES[tool]}", ""]
        lines += _throughput(samples, tool) + _latency(samples, tool) + _cpu(samples, tool) + _memory(samples, tool)
        if OURS in samples.targets:
            lines += _verdict(samples, tool)
    lines += _refused(samples)
    if with_goals:
        lines += goals.section(samples, OURS)
    return "\n".join(lines) + "\n"


TITLES = {
    "load": "Verifying generator (benches/load)",
    "redis-benchmark": "redis-benchmark",
}

EXPLANATION = """\
Cases: P = requests in a pipeline, c = clients; values of 16 bytes unless said; MIX20 = 80 % GET, 20 % SET on the same
keys, from one thread that serves all clients and so gathers what it sends; MULTI = a transaction of a GET and a SET,
sent at once, counted as one request; BLPOP = two clients wait at each list, one more pushes P elements at once to it,
an element is counted when it is popped; PUBSUB = ten clients subscribe to a channel, one more publishes P messages at
once, a message is counted for each subscriber. All targets run in turn within a round; numbers are medians over the
rounds; a number in brackets is the median over the rounds of the ratio to the direct connection in the same round. The
P cases are closed loops at full load: their latencies compare targets with each other; what a less than busy system
shows are the open cases, requests on a schedule, at 30, 60 and 90 % of what the direct connection answers 100 clients
of the same generator in a closed loop, latency from when they were due: a target that cannot keep up is not spared the
requests that it kept from being sent. CPU is microseconds of processor per request, all threads, user and kernel.
Every reply of the verifying generator was compared byte by byte, all keys read back through the target and at the
server; of redis-benchmark, which looks at no reply, the server's own counts and hits were checked and a sample of the
values read back. One wrong reply voids a run."""


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def _throughput(samples, tool):
    def cell(case, target):
        rps = samples.median(tool, case, target, "rps")
        text = f"{rps / 1000:.1f}"
        return text if target == "direct" else f"{text} ({samples.ratio(tool, case, target, 'direct', 'rps')[0]:.2f})"

    return _per_target(samples, tool, "thousand requests/s", cell)


def _latency(samples, tool):
    def cell(case, target):
        return " / ".join(f"{samples.median(tool, case, target, key) / 1000:.3f}" for key in QUANTILES)

    return _per_target(samples, tool, "p50 / p99 / p99.9, ms", cell)


def _cpu(samples, tool):
    def cell(case, target):
        proxy, redis = (samples.median(tool, case, target, key) for key in ("proxy_us", "redis_us"))
        if target == "direct":
            return f"{redis:.2f}"
        return f"{proxy:.2f} + {redis:.2f} = **{samples.median(tool, case, target, 'sum_us'):.2f}**"

    return _per_target(samples, tool, "CPU µs per request: proxy + Redis", cell)


def _per_target(samples, tool, title, cell):
    rows = [
        [case] + [cell(case, target) if target in found else "–" for target in samples.targets]
        for case, found in samples.samples[tool].items()
    ]
    return _table([title, *samples.targets], rows)


def _verdict(samples, tool):
    """Redhold against the best peer of each cell, by name; then the cells that it loses, every one of them."""
    rows, lost = [], []
    for case in samples.samples[tool]:
        row = [case]
        for name, key, more in METRICS:
            best = samples.best_peer(tool, case, key, more)
            # In an open loop the schedule decides how many requests there are.
            fixed = key == "rps" and case.startswith("open")
            if best is None or fixed or not samples.rounds(tool, case, OURS, key):
                row.append("–")
                continue
            ratio, low, high = samples.ratio(tool, case, OURS, best, key)
            loses = ratio < 1 if more else ratio > 1
            text = f"{ratio:.2f} ({best})"
            row.append(f"**{text}**" if loses else text)
            if loses:
                lost.append(f"* {case}: {name} {ratio:.2f} × {best} (rounds {low:.2f} to {high:.2f})")
        rows.append(row)
    head = ["Redhold / best peer", *(f"{name} {'↑' if more else '↓'}" for name, _, more in METRICS)]
    cells = sum(text != "–" for row in rows for text in row[1:])
    return _table(head, rows) + [f"Redhold loses {len(lost)} of {cells} cells (bold above):", "", *lost, ""]


def _memory(samples, tool):
    def cell(case, target):
        rss = samples.median(tool, case, target, "rss_kib")
        return f"{rss / 1024:.1f}" if rss > 0 else "–"

    return _per_target(samples, tool, "most resident MiB of the proxy", cell)


def _refused(samples):
    """What each dash means."""
    if not samples.refused:
        return []
    cases = {}
    for case, found in samples.refused.items():
        for target, reason in found.items():
            cases.setdefault((target, reason), []).append(case)
    lines = [f"* {target}, {', '.join(names)}: {reason}" for (target, reason), names in cases.items()]
    return ["## Dashes", "", "What a target answered when it was asked for what the case is made of:", "", *lines, ""]


def summary(samples):
    """What the terminal shows at the end."""
    lines = []
    for tool, cases in samples.samples.items():
        lines.append(f"{tool}: thousand requests/s, then CPU µs per request proxy+Redis")
        lines.append(f"  {'':16}" + "".join(f"{name:>22}" for name in samples.targets))
        for case, found in cases.items():
            cells = []
            for target in samples.targets:
                if target not in found:
                    cells.append(f"{'–':>22}")
                    continue
                rps, proxy, redis = (samples.median(tool, case, target, key) for key in ("rps", "proxy_us", "redis_us"))
                cells.append(f"{rps / 1000:>9.1f} {proxy:>6.2f}+{redis:<5.2f}")
            lines.append(f"  {case:16}" + "".join(cells))
    return "\n".join(lines)
