"""How cost grows: with workers, clients, connections that come and go, idle clients, and replicas. Tables, and a plot of what must
be linear."""

import datetime
import os
import pathlib
import statistics
import sys
import time

from . import measure, plot, processes, targets, tls
from .group import Group

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"
WORKERS = (1, 2)
ACTIVE = (500, 1_000, 2_500, 5_000, 10_000)
REPLICAS = (0, 1, 3, 5)


def run(args, work, tools):
    """Runs all parts, or those that --cases names; prints tables and writes one SVG a part that grows."""
    parts = {part.__name__: part for part in (workers, active, tls.churn, tls.idle, replicas)}
    wanted = args.cases.split(",") if args.cases else list(parts)
    if set(wanted) - set(parts):
        raise processes.Failed(f"--cases {args.cases}: there are {', '.join(parts)}")
    processes.allow_open_files(2 * ACTIVE[-1])
    layout, rounds = targets.Layout(args.layout), 3 if args.rounds is None else args.rounds
    out = RESULTS / "-".join([f"{datetime.date.today()}-scale", *(wanted if args.cases else [])])
    lines, load = [], os.getloadavg()[0]
    for name in wanted:
        print(f"scale: {name}", file=sys.stderr)
        folder = pathlib.Path(work) / name
        folder.mkdir()
        lines += parts[name](layout, folder, tools, rounds, args.seconds, out) + [""]
    facts = (f"{layout}; medians of {rounds} rounds of {args.seconds} s (connections: {tls.CHURN_SECONDS} s). Load average {load:.1f} "
             f"before, {os.getloadavg()[0]:.1f} after, the benchmark itself included.")
    text = "\n".join([f"# Scale, {datetime.date.today()}", "", facts, "", *lines])
    pathlib.Path(f"{out}.md").write_text(text)
    print(text)
    print(f"written: {out}.md")
    return 0


def _medians(stage, cases, rounds, seconds):
    """medians[case name][target name][key]; targets take turns within a round."""
    found = {}
    for number in range(rounds):
        shift = number % len(stage.targets)
        for case in cases:
            for target in stage.targets[shift:] + stage.targets[:shift]:
                one = measure.with_load(stage, target, case, seconds)
                for key in ("rps", "proxy_us", "redis_us", "rss_kib", "p99_us"):
                    found.setdefault((case.name, target.name), {}).setdefault(key, []).append(one[key])
    return {cell: {key: statistics.median(all) for key, all in keys.items()} for cell, keys in found.items()}


def workers(layout, work, tools, rounds, seconds, _out):
    """On as many cores as the kernel likes: with two, server and client take from the workers what they use."""
    variants = {str(count): {"REDHOLD_PROXY_WORKERS": str(count)} for count in WORKERS}
    stage = Group(variants, targets.Layout("unpinned"), work, tools)
    cases = [measure.Case(1, 50, "get"), measure.Case(16, 50, "get"), measure.Case(1, 500, "get")]
    try:
        found = _medians(stage, cases, rounds, seconds)
    finally:
        stage.close()
    lines = ["## Workers (unpinned)", "", "| case | workers | thousand requests/s | proxy CPU, us | Redis CPU, us |", "|---|---|---|---|---|"]
    for (case, name), row in found.items():
        lines.append(f"| {case} | {name} | {row['rps'] / 1000:.1f} | {row['proxy_us']:.2f} | {row['redis_us']:.2f} |")
    return lines


def active(layout, work, tools, rounds, seconds, out):
    """Clients that each wait for one reply at a time."""
    stage = Group({"redhold": {"REDHOLD_PROXY_MAX_CLIENTS": str(ACTIVE[-1] + 100)}}, layout, work, tools)
    stage.patience = 30.0
    rows = {}
    try:
        for count in ACTIVE:
            cell = _medians(stage, [measure.Case(1, count, "get")], rounds, seconds)
            rows[count] = next(iter(cell.values()))
    finally:
        stage.close()
    pathlib.Path(f"{out}-clients.svg").write_text(plot.chart(
        "Memory by clients that are active", "clients", "most resident MiB",
        {"redhold": [(count, row["rss_kib"] / 1024) for count, row in rows.items()]},
    ))
    lines = ["## Active clients", "", f"![memory by clients]({out.name}-clients.svg)", ""]
    lines += ["| clients | thousand requests/s | proxy CPU, us | p99, ms | most resident MiB |", "|---|---|---|---|---|"]
    for count, row in rows.items():
        numbers = [row["rps"] / 1000, row["proxy_us"], row["p99_us"] / 1000, row["rss_kib"] / 1024]
        lines.append(f"| {count} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    return lines


def replicas(layout, work, tools, rounds, seconds, _out):
    """Reads of replicas, and what the proxy spends on looking at nodes when nobody asks for anything."""
    lines = ["## Replicas", "", "| replicas | case | thousand requests/s | proxy CPU, us | % of a core when idle |", "|---|---|---|---|---|"]
    for count in REPLICAS:
        folder = work / str(count)
        folder.mkdir()
        stage = Group({"redhold": {"REDHOLD_READS_POLICY": "prefer_replica"}}, layout, folder, tools, count)
        try:
            before = processes.cpu_seconds(stage.targets[0].pid)
            time.sleep(3)
            idle = (processes.cpu_seconds(stage.targets[0].pid) - before) / 3
            found = _medians(stage, [measure.Case(1, 50, "get"), measure.Case(1, 50, "set")], rounds, seconds)
        finally:
            stage.close()
        for (case, _), row in found.items():
            lines.append(f"| {count} | {case} | {row['rps'] / 1000:.1f} | {row['proxy_us']:.2f} | {idle * 100:.2f} |")
    return lines
