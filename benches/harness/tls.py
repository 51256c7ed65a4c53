"""What TLS towards clients costs where there are many: connections that come and go, and clients that stay idle. Each
number stands beside that of the same program without TLS, in the same round."""

import statistics
import sys

from . import measure, plot, processes, targets
from .certificates import Folder
from .group import Group

CONNECTIONS = (125, 250, 500, 1_000)
# Threads of the generator, each with one client at a time.
READY = 16
CHURN_SECONDS, WARM_UP = 3, 0.5
IDLE = 10_000
# After ten the proxy gives back what a client that says nothing does not need.
IDLE_SECONDS = 12
PLAIN, FULL, RESUMED = "without", "TLS", "TLS, resumed"


def churn(layout, work, tools, rounds, _seconds, out):
    """Clients that connect, write, read back and leave, so many a second."""
    stage = _stage(layout, work, tools)
    stage.warmup, samples = WARM_UP, {}
    kinds = list(zip((PLAIN, FULL, RESUMED), [*stage.targets, stage.targets[-1]]))
    try:
        for number in range(rounds):
            shift = number % len(kinds)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for rate in CONNECTIONS:
                for kind, target in kinds[shift:] + kinds[:shift]:
                    case = measure.Case(1, READY, "churn", rate=rate, resume=kind == RESUMED)
                    one = measure.with_load(stage, target, case, CHURN_SECONDS)
                    one["rss_kib"] = processes.rss_kib(target.pid)
                    samples.setdefault((rate, kind), []).append(one)
    finally:
        stage.close()
    points = {kind: [_share(samples, rate, kind) for rate in CONNECTIONS] for kind, _ in kinds}
    _draw(out, "connections", "Processor by connections that come and go", "connections a second", "% of a core", points)
    lines = ["## Connections that come and go", "", f"![processor by connections]({out.name}-connections.svg)", "", NOTE, ""]
    lines += ["| wanted/s | | reached/s | % of a core | proxy CPU, us each | beside without | generator, % of a core | "
              "resumed, % | p50, ms | beside | p99, ms | beside | resident MiB after |", "|---" * 13 + "|"]
    return lines + [_churn_row(samples, rate, kind) for rate, kind in sorted(samples, key=lambda cell: cell[0])]


NOTE = """\
TLS 1.3, certificate and its authority on P-256. A connection that failed or a wrong reply would have voided the run.
Times are from before connecting to the first reply. The generator shares its core with Redis when there are two: near
100 % it is what is measured, not the proxy."""


def _share(samples, rate, kind):
    """Reached a second, and % of a core."""
    rows = samples[rate, kind]
    return (statistics.median(row["rps"] for row in rows),
            statistics.median(row["rps"] * row["proxy_us"] / 1e4 for row in rows))


def _churn_row(samples, rate, kind):
    rows, plain = samples[rate, kind], samples[rate, PLAIN]
    reached, share = _share(samples, rate, kind)
    own = _median(row["rps"] * row["own_us"] / 1e4 for row in rows)
    resumed = _median(100 * row["resumed"] / row["requests"] for row in rows)
    cells = [rate, kind, f"{reached:.0f}", f"{share:.1f}", *_beside(rows, plain, "proxy_us", 1), f"{own:.0f}", f"{resumed:.0f}"]
    cells += [*_beside(rows, plain, "p50_us", 1e3), *_beside(rows, plain, "p99_us", 1e3)]
    cells.append(f"{_median(row['rss_kib'] for row in rows) / 1024:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


def idle(layout, work, tools, rounds, _seconds, _out):
    """Clients that have written and read once. Each round has new proxies: what was freed before is not given back at once."""
    samples = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        folder = work / str(number)
        folder.mkdir()
        stage = _stage(layout, folder, tools)
        stage.patience = 30.0
        try:
            for target in stage.targets[number % 2:] + stage.targets[:number % 2]:
                one = measure.with_load(stage, target, measure.Case(1, IDLE, "idle"), IDLE_SECONDS)
                before, held = one["rss_kib_by_pid"][str(target.pid)]
                samples.setdefault(target.name, []).append({**one, "bytes": (held - before) * 1024 / IDLE, "held": held})
        finally:
            stage.close()
    lines = [f"## Idle clients, {IDLE:,}", "", "| | resident bytes a client | beside without | resident MiB with all | "
             "proxy CPU to let one in, us | beside |", "|---|---|---|---|---|---|"]
    for kind, rows in samples.items():
        held = _median(row["held"] for row in rows) / 1024
        cells = [kind, *_beside(rows, samples[PLAIN], "bytes", 1), f"{held:.1f}", *_beside(rows, samples[PLAIN], "proxy_us", 1)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _stage(layout, work, tools):
    files = Folder(work / "certificates")
    room = {"REDHOLD_PROXY_MAX_CLIENTS": str(IDLE + 100)}
    return Group({PLAIN: room, FULL: {**room, **files.towards_clients()}}, layout, work, tools, certificates=files)


def _beside(rows, plain, key, scale):
    """The median, and the median of the ratios within a round, which one without TLS has none of."""
    ratio = _median(row[key] / other[key] for row, other in zip(rows, plain))
    return f"{_median(row[key] for row in rows) / scale:,.{0 if scale == 1 else 2}f}", "" if rows is plain else f"{ratio:.2f}"


def _median(numbers):
    return statistics.median(numbers)


def _draw(out, name, title, across, up, series):
    out.with_name(f"{out.name}-{name}.svg").write_text(plot.chart(title, across, up, series))
