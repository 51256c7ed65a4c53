"""What we want to reach, as data, and a section of the page that compares it with what was measured."""

import dataclasses

PEER, DIRECT = "best peer", "direct"
COLUMNS = {
    "CPU of proxy": ("proxy_us",),
    "CPU of proxy + Redis": ("sum_us",),
    "requests/s": ("rps",),
    "latency": ("p50_us", "p99_us"),
}


@dataclasses.dataclass(frozen=True)
class Goal:
    """Redhold's `key` divided by that of `beside` shall be at most `bound`; of requests per second at least."""

    key: str
    bound: float
    beside: str = PEER

    @property
    def more_is_better(self):
        return self.key == "rps"

    def asked(self):
        return f"{'≥' if self.more_is_better else '≤'} {self.bound:.2f} {self.beside}"

    def is_reached(self, ratio):
        return ratio >= self.bound if self.more_is_better else ratio <= self.bound


def costs(proxy, both, *more):
    """Bounds of the processor time of the proxy, and of proxy and Redis together, and other goals."""
    return [Goal("proxy_us", proxy), Goal("sum_us", both), *more]


AS_MANY_AS_PEERS = Goal("rps", 1.00)

# Case, the tool whose numbers count, goals. redis-benchmark wherever it can produce the case.
ROWS = [
    ("P1c50 GET", "redis-benchmark", costs(0.80, 0.80, Goal("rps", 0.85, DIRECT), AS_MANY_AS_PEERS,
                                           Goal("p50_us", 1.50, DIRECT), Goal("p99_us", 1.50, DIRECT))),
    ("P1c50 SET", "redis-benchmark", costs(0.90, 0.90, AS_MANY_AS_PEERS)),
    ("P16c50 GET", "redis-benchmark", costs(0.65, 0.85, Goal("rps", 0.97, DIRECT))),
    ("P64c10 GET", "redis-benchmark", costs(0.90, 0.95, Goal("rps", 0.85, DIRECT))),
    ("P1c500 GET", "redis-benchmark", costs(0.75, 0.75, Goal("rps", 1.05, DIRECT), Goal("p99_us", 0.85, DIRECT))),
    ("P1c2000 GET", "redis-benchmark", costs(0.60, 0.65, Goal("rps", 1.20, DIRECT))),
    ("P1c10 GET", "redis-benchmark", costs(1.00, 1.10, AS_MANY_AS_PEERS)),
    ("P1c1 GET", "redis-benchmark", costs(1.00, 1.00, AS_MANY_AS_PEERS, Goal("p50_us", 1.00))),
    ("P1c50 MIX20", "load", costs(1.00, 1.00, AS_MANY_AS_PEERS)),
    ("P1c500 MIX20", "load", costs(1.00, 1.00, AS_MANY_AS_PEERS)),
    ("P1c50 GET 64 KiB", "redis-benchmark", costs(0.75, 0.85, AS_MANY_AS_PEERS)),
    ("P1c50 SET 64 KiB", "redis-benchmark", costs(0.75, 0.85, AS_MANY_AS_PEERS)),
]


def section(samples, ours):
    """Lines of Markdown: for each row and goal what was reached and what is asked for."""
    counts = {"reached": 0, "missed": 0, "not measured": 0}
    rows = []
    for case, tool, goals in ROWS:
        cells = []
        for keys in COLUMNS.values():
            texts = []
            for goal in (goal for goal in goals if goal.key in keys):
                verdict, text = _compare(samples, ours, tool, case, goal)
                counts[verdict] += 1
                texts.append(text)
            cells.append("<br>".join(texts))
        rows.append(f"| {case} | {' | '.join(cells)} |")
    how_many = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return [
        "## What we want to reach", "", EXPLANATION, "",
        "| reached / asked for | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|", *rows, "",
        f"Of {sum(counts.values())}: {how_many}.", "",
    ]


EXPLANATION = """\
Redhold's number divided by that of the direct connection, or of the best of all proxies in that figure and case (in
brackets): the ratio within a round, the median over the rounds. By redis-benchmark; the mixes, which it cannot produce,
by the verifying generator. Bold is what is missed."""


def _compare(samples, ours, tool, case, goal):
    """`reached`, `missed` or `not measured`, and the cell's text."""
    label = {"p50_us": "p50 ", "p99_us": "p99 "}.get(goal.key, "")
    not_measured = ("not measured", f"{label}– / {goal.asked()}")
    found = samples.samples.get(tool, {}).get(case, {})
    if ours not in found:
        return not_measured
    beside = goal.beside
    if beside == PEER:
        beside = samples.best_peer(tool, case, goal.key, goal.more_is_better)
    if beside not in found:
        return not_measured
    ratio = samples.ratio(tool, case, ours, beside, goal.key)[0]
    who = f" ({beside})" if goal.beside == PEER else ""
    if goal.is_reached(ratio):
        return "reached", f"{label}{ratio:.2f} / {goal.asked()}{who}"
    return "missed", f"**{label}{ratio:.2f}** / {goal.asked()}{who}"
