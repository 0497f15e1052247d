#!/usr/bin/env python3
"""False pages a week on real traffic in which no incident is known: the anomaly rules at their defaults, beside fixed thresholds.

trace_pages.py LEEWAY TRACES [--clients N] [--changed FACTOR]... [--report FILE]

TRACES holds servegen/*-rates.csv.gz (requests of each client in ten minutes) and *-tokens.jsonl.gz (its tokens in six hours). A client is an
app. Its requests are thinned to some thirty in ten minutes, as sampling would; tokens are drawn from its own distributions. A trace
of less than two weeks is told twice, drawn anew: what is usual at an hour of the week has to have been seen once.
With --changed all tokens are so many times as many from the middle of the second week on, and it is told how many streams alarm then.
"""
import argparse, csv, gzip, json, math, os, subprocess, sys, tempfile
from datetime import datetime, timezone
import numpy as np
from scipy import stats

WINDOW = 600
DAY = 86_400
WEEK = 7 * DAY
BUSY = 30
# A Monday; the trace's own date is not known.
START = 1_767_571_200
RULES = """
[[rule]]
id = "calls"
kind = "anomaly"
measure = "calls"
by = ["app"]
severity = "page"

[[rule]]
id = "input_tokens"
kind = "anomaly"
measure = "input_tokens"
by = ["app"]
severity = "page"

[[rule]]
id = "output_tokens"
kind = "anomaly"
measure = "output_tokens"
by = ["app"]
severity = "page"
"""


def rates_of(path):
    """Client → window start → requests."""
    found = {}
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["client"]), {})[int(float(row["t_s"]))] = float(row["rate_rps"]) * WINDOW
    return found


def tokens_of(path):
    """(Client, field) → [(start, values, probabilities)], in order of time."""
    found = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            p = np.array(row["p"], dtype=float)
            found.setdefault((row["client"], row["field"]), []).append((row["t_s"], np.array(row["values"]), p / p.sum()))
    for parts in found.values():
        parts.sort(key=lambda part: part[0])
    return found


def drawn(rng, parts, at, n):
    """Of the distribution that was true then, or last before."""
    chosen = parts[0]
    for part in parts:
        if part[0] <= at:
            chosen = part
    return rng.choice(chosen[1], n, p=chosen[2])


def calls_of(rates, tokens, clients, rng):
    """(time, client, input, output) of all calls, in order, and whether the trace was told twice."""
    spans = [max(windows) + WINDOW for windows in rates.values()]
    days = math.ceil(max(spans) / DAY)
    repeated = days < 14
    calls = []
    for client in clients:
        mean = sum(rates[client].values()) / (days * DAY / WINDOW)
        thin = min(1.0, BUSY / mean)
        for turn in range(2 if repeated else 1):
            for at, requests in sorted(rates[client].items()):
                if repeated and at >= WEEK:
                    continue
                n = rng.binomial(int(round(requests)), thin)
                times = np.sort(rng.uniform(at, at + WINDOW, n)) + turn * WEEK
                given = drawn(rng, tokens[client, "input_tokens"], at, n)
                made = drawn(rng, tokens[client, "output_tokens"], at, n)
                calls.extend(zip(times.tolist(), [client] * n, given.tolist(), made.tolist()))
    calls.sort()
    return calls, days, repeated


def ours(leeway, calls, end):
    """Alarms of each rule in the second week."""
    with tempfile.TemporaryDirectory() as folder:
        events, rules = os.path.join(folder, "events.jsonl"), os.path.join(folder, "rules.toml")
        with open(events, "w") as file:
            for number, (at, client, given, made) in enumerate(calls):
                file.write('{"id":"%d","time":%d,"tenant":"servegen","app":"client-%d","operation":"chat","request_model":"m","status":"ok",'
                           '"tokens":{"input":%d,"output":%d}}\n' % (number, int((START + at) * 1e6), client, given, made))
        with open(rules, "w") as file:
            file.write(RULES)
        time = lambda at: datetime.fromtimestamp(START + at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        command = [leeway, "backtest", "--rules", rules, "--events", events, "--from", time(WEEK), "--to", time(end), "--json"]
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=folder).stdout)
    counted = told["events"]["calls"]
    assert counted == len(calls), (counted, len(calls))
    alarm_of = lambda alarm: (alarm["at"], alarm["labels"]["app"], alarm["detector"], alarm["effect"])
    return {rule["rule"]: ([alarm_of(alarm) for alarm in rule["alarms"]], rule["streams_tested"]) for rule in told["rules"]}


def changed(leeway, calls, end, clients, factor):
    """In words: how many streams are told of tokens that are `factor` times as many from the middle of the second week on, and how soon."""
    since = WEEK + WEEK // 2
    more = [(at, client, int(given * factor), int(made * factor)) if at >= since else (at, client, given, made) for at, client, given, made in calls]
    early, delays = 0, []
    for rule, (alarms, _) in ours(leeway, more, end).items():
        if rule == "calls":
            continue
        first = {}
        for at, app, _, _ in alarms:
            at = datetime.strptime(at[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp() - START - since
            early += at <= 0
            if at > 0:
                first.setdefault(app, at)
        delays.extend(first.values())
    within = lambda seconds: sum(delay <= seconds for delay in delays)
    return f"{len(delays)} of {2 * len(clients)} told, {within(1_800)} within half an hour, {within(14_400)} within four; {early} pages before"


def psi(reference, present):
    edges = np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9)))
    share = lambda values: (np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5) / (len(values) + 0.5 * (len(edges) + 1))
    p, q = share(reference), share(present)
    return float(((p - q) * np.log(p / q)).sum())


def jensen(reference, present):
    edges = np.histogram_bin_edges(np.concatenate([reference, present]), "doane")
    p, q = (np.histogram(values, edges)[0] / len(values) for values in (reference, present))
    middle = (p + q) / 2
    part = lambda a: np.sum(np.where(a > 0, a * np.log2(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1)), 0))
    return math.sqrt(max((part(p) + part(q)) / 2, 0.0))


def pages(alarming):
    """A page is a window that alarms after one that does not."""
    return sum(now and not before for before, now in zip([False] + alarming[:-1], alarming))


def peers(calls, clients, end):
    """Hours of the second week against the first week's rows, by the peers' own rules; pages by rule."""
    found = {}
    for client in clients:
        rows = np.array([(at, given, made) for at, of, given, made in calls if of == client])
        first = rows[rows[:, 0] < WEEK]
        for column, measure in ((1, "input_tokens"), (2, "output_tokens")):
            reference = first[:, column]
            deviation = reference.std() or 1.0
            chunks = np.array_split(reference, 10)
            limits = {name: (lambda scores: np.mean(scores) + 3 * np.std(scores))([score(reference, chunk) for chunk in chunks])
                      for name, score in (("js", jensen), ("ks", lambda a, b: stats.ks_2samp(a, b).statistic))}
            alarms = {}
            for start in range(WEEK, end, 3_600):
                present = rows[(rows[:, 0] >= start) & (rows[:, 0] < start + 3_600)][:, column]
                if len(present) < 30:
                    continue
                verdicts = {
                    "Evidently: Wasserstein / sd >= 0.1": stats.wasserstein_distance(reference, present) / deviation >= 0.1,
                    "Evidently: PSI >= 0.1": psi(reference, present) >= 0.1,
                    "PSI >= 0.25": psi(reference, present) >= 0.25,
                    "KS p < 0.05": stats.ks_2samp(reference, present, method="asymp").pvalue < 0.05,
                    "NannyML: Jensen-Shannon > mean + 3 sd of ten chunks": jensen(reference, present) > limits["js"],
                    "NannyML: KS > mean + 3 sd of ten chunks": stats.ks_2samp(reference, present, method="asymp").statistic > limits["ks"],
                }
                for name, verdict in verdicts.items():
                    alarms.setdefault(name, []).append(bool(verdict))
            for name, one in alarms.items():
                found.setdefault((name, measure), 0)
                found[name, measure] += pages(one)
        counts = lambda low, high: [int(((rows[:, 0] >= at) & (rows[:, 0] < at + 3_600)).sum()) for at in range(low, high, 3_600)]
        week, later = counts(0, WEEK), counts(WEEK, end)
        mean, deviation = np.mean(week), np.std(week)
        for name, outside in (("calls: off by 50 % of last week's mean", lambda n: abs(n - mean) > 0.5 * mean),
                              ("calls: off by 3 sd of last week", lambda n: abs(n - mean) > 3 * deviation)):
            found.setdefault((name, "calls"), 0)
            found[name, "calls"] += pages([bool(outside(n)) for n in later])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leeway")
    parser.add_argument("traces")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--changed", type=float, action="append", default=[], metavar="FACTOR")
    parser.add_argument("--report")
    args = parser.parse_args()
    folder = os.path.join(args.traces, "servegen")
    if not os.path.isdir(folder):
        sys.exit(f"skipped: there is no {folder}")
    leeway = os.path.abspath(args.leeway)
    # Of a repeated week the arrivals and tokens are drawn anew from the same rates: nothing of how weeks differ is in it.
    lines = ["| trace | rule | measure | streams | false pages in the week |", "|---|---|---|---|---|"]
    for name in sorted(file[: -len("-rates.csv.gz")] for file in os.listdir(folder) if file.endswith("-rates.csv.gz")):
        rates, tokens = rates_of(os.path.join(folder, name + "-rates.csv.gz")), tokens_of(os.path.join(folder, name + "-tokens.jsonl.gz"))
        known = [client for client in rates if (client, "input_tokens") in tokens and (client, "output_tokens") in tokens]
        known.sort(key=lambda client: -sum(rates[client].values()))
        clients = known[: args.clients]
        days = math.ceil((max(max(windows) for windows in rates.values()) + WINDOW) / DAY)
        if days < 7:
            lines.append(f"| {name} | all | | {3 * len(clients)} | cannot be tested: {days} day{'s' if days > 1 else ''} of traffic, and what is usual at an hour of the week has to have been seen |")
            continue
        calls, days, repeated = calls_of(rates, tokens, clients, np.random.default_rng(1))
        end = 2 * WEEK
        print(f"{name}: {len(calls):,} calls of {len(clients)} clients, {days} days{', told twice' if repeated else ''}", file=sys.stderr, flush=True)
        for rule, (alarms, testable) in ours(leeway, calls, end).items():
            lines.append(f"| {name} | Leeway: anomaly, defaults (budget of all rules: 1 a week) | {rule} | {testable} of {len(clients)} | {len(alarms)} |")
            for alarm in alarms:
                print("  ", rule, *alarm, file=sys.stderr)
        for factor in args.changed:
            lines.append(f"| {name} | Leeway, tokens times {factor:g} | input and output tokens | {2 * len(clients)} | {changed(leeway, calls, end, clients, factor)} |")
        for (rule, measure), count in peers(calls, clients, end).items():
            lines.append(f"| {name} | {rule} | {measure} | {len(clients)} | {count} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.report:
        with open(args.report, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
