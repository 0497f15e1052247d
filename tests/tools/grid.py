#!/usr/bin/env python3
"""LEEWAY-GRID-1: how often the stream detectors alarm while nothing changes, and how soon once something does.

grid.py BINARY [--out FOLDER] [--report FILE] [--small] [--peers] [--workers N]

Streams are drawn here (numpy PCG64, seeded by family, magnitude and replicate); BINARY is leeway-grid, which has the detectors.
Each cell is a file of the folder, so that a run that is stopped goes on where it was. --peers also runs River's detectors, at
their defaults and tuned on the normal null. The oracle is a CUSUM that knows the law and the size of the change: once with a known
null, once with a null estimated from the same reference and a bar that keeps nine references of ten above the nominal distance.
"""
import argparse, hashlib, json, math, multiprocessing, os, struct, subprocess, sys, time
import numpy as np
from scipy import stats

GRID = 20260101
# Another one where streams, oracles or peers are drawn or asked otherwise: what was kept is made anew.
VERSION = 1
NOMINAL = 10_000
BLOCK = 25
BEFORE, AFTER, QUIET = 2_000, 5_000, 50_000
# A cell of which fewer references can be tested has no verdict.
MOSTLY = 0.9
DAY = 1_440
SEASON_DAYS = 30
REFERENCES = (300, 1_000, 10_000)
PEER_REFERENCE = 1_000
NUMBERS, HITS, POSITIVE = 0, 1, 2
LN = (math.log(400.0), 0.6)
TOKENS = (3.0, 350.0)
RATING = np.array([0.05, 0.08, 0.17, 0.35, 0.35])


class Family:
    """A law with its changes; `draw(rng, size, strength, change)` gives values, strength 0 to 1 by value."""

    def __init__(self, number, what, draw, changes, rate=None):
        self.number, self.what, self.draw, self.changes, self.rate = number, what, draw, changes, rate


def normal(rng, noise, strength, change):
    kind, size = change
    return noise + size * strength if kind == "mean" else noise * (1 + (size - 1) * strength)


def rate_of(p):
    def draw(rng, noise, strength, change):
        return (rng.random(len(noise)) < p * (1 + (change[1] - 1) * strength)).astype(float)
    return draw


def latency(rng, noise, strength, change):
    kind, size = change
    value = np.exp(LN[0] + LN[1] * noise)
    if kind == "tail":
        return np.where(rng.random(len(noise)) < 0.05 * strength, size, 1.0) * value
    return value * np.exp(math.log(size) * strength)


def tokens(rng, noise, strength, change):
    shape, mean = TOKENS
    mean = mean * (1 + (change[1] - 1) * strength)
    return rng.negative_binomial(shape, shape / (shape + mean)).astype(float)


def rating(rng, noise, strength, change):
    values = rng.choice(np.arange(1.0, 6.0), len(noise), p=RATING)
    return np.where(rng.random(len(noise)) < change[1] * strength, 1.0, values)


NONE = {NUMBERS: ("mean", 0.0), HITS: ("rate", 1.0), POSITIVE: ("scale", 1.0)}
FAMILIES = {
    "gauss": Family(0, NUMBERS, normal, {
        "mean + 0.25 sd": ("mean", 0.25), "mean + 0.5 sd": ("mean", 0.5), "mean + 1 sd": ("mean", 1.0),
        "sd x 1.5": ("spread", 1.5), "sd x 2": ("spread", 2.0)}),
    "bern05": Family(1, HITS, rate_of(0.05), {"x 1.5": ("rate", 1.5), "x 2": ("rate", 2.0), "x 4": ("rate", 4.0)}, 0.05),
    "bern01": Family(2, HITS, rate_of(0.01), {"x 2": ("rate", 2.0), "x 5": ("rate", 5.0)}, 0.01),
    "bern001": Family(3, HITS, rate_of(0.001), {"x 5": ("rate", 5.0), "x 10": ("rate", 10.0)}, 0.001),
    "latency": Family(4, POSITIVE, latency, {
        "x 1.1": ("scale", 1.1), "x 1.25": ("scale", 1.25), "x 1.5": ("scale", 1.5), "5 % of calls x 5": ("tail", 5.0)}),
    "tokens": Family(5, POSITIVE, tokens, {"x 1.1": ("scale", 1.1), "x 1.5": ("scale", 1.5)}),
    "rating": Family(6, POSITIVE, rating, {"10 % become 1": ("ones", 0.1)}),
}
NONE_OF = {"rating": ("ones", 0.0)}
# What makes values depend on one another, on the hour, or come otherwise; with the families it is laid on.
WORLDS = {
    "plain": tuple(FAMILIES),
    "AR(1) 0.5": ("gauss", "latency"),
    "daily sine": ("gauss", "bern05", "latency"),
    "AR(1) and sine": ("gauss",),
    "volume x 0.2 to 3": ("gauss", "bern05"),
    "one value x 1000": ("latency",),
}
SHAPES = ("abrupt", "ramp", "burst")


def seasonal(world):
    return "sine" in world


def strength(shape, n):
    at = np.arange(n)
    if shape == "ramp":
        return np.minimum(1.0, at / 1_000)
    return (at < 200).astype(float) if shape == "burst" else np.ones(n)


def autoregressive(noise, phi=0.5):
    from scipy.signal import lfilter
    scaled = noise * math.sqrt(1 - phi * phi)
    scaled[0] = noise[0]
    return lfilter([1.0], [1.0, -phi], scaled)


def sizes_of(world, n, rng):
    if "volume" not in world:
        return [BLOCK] * (n // BLOCK)
    sizes = []
    while sum(sizes) + 3 * BLOCK < n:
        sizes.append(int(round(BLOCK * math.exp(rng.uniform(math.log(0.2), math.log(3.0))))))
    return sizes + [n - sum(sizes)]


def run_of(cell, replicate):
    """One stream: sizes of the reference's blocks, of those after it, and the values of both."""
    family = FAMILIES[cell["family"]]
    names = list(family.changes)
    magnitude = 0 if cell["change"] is None else 1 + names.index(cell["change"])
    world = list(WORLDS).index(cell["world"])
    seed = [GRID, family.number, magnitude, replicate, world, cell["reference"]]
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    reference = SEASON_DAYS * DAY if seasonal(cell["world"]) else cell["reference"]
    after = QUIET if cell["change"] is None else BEFORE + AFTER
    n = reference + after
    noise = rng.standard_normal(n)
    if "AR(1)" in cell["world"]:
        noise = autoregressive(noise)
    wave = 0.5 * np.sin(2 * np.pi * np.arange(n) / DAY) if seasonal(cell["world"]) else np.zeros(n)
    change = NONE_OF.get(cell["family"], NONE[family.what]) if cell["change"] is None else family.changes[cell["change"]]
    force = np.zeros(n)
    if cell["change"] is not None:
        force[reference + BEFORE:] = strength(cell["shape"], AFTER)
    if family.what == HITS and seasonal(cell["world"]):
        p = family.rate * np.exp(wave) * (1 + (change[1] - 1) * force)
        values = (rng.random(n) < p).astype(float)
    else:
        values = family.draw(rng, noise, force, change)
        if family.what == NUMBERS:
            values = values + wave
        elif family.what == POSITIVE:
            values = values * np.exp(LN[1] * wave)
    if "x 1000" in cell["world"]:
        values[reference // 2] *= 1_000
        values[reference + after // 4] *= 1_000
    return sizes_of(cell["world"], reference, rng), sizes_of(cell["world"], after, rng), values, reference


class Detectors:
    """leeway-grid, a run at a time."""

    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def judge(self, cell, run):
        before, after, values, _ = run
        sizes = np.array(before + after, dtype="<u4")
        bar = NOMINAL / (sum(after) / len(after))
        head = struct.pack("<BBdII", FAMILIES[cell["family"]].what, int(seasonal(cell["world"])), bar, len(before), len(after))
        self.process.stdin.write(head + sizes.tobytes() + values.astype("<f8").tobytes())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def ours(binary, cell, replicates):
    detectors = Detectors(binary)
    return [detectors.judge(cell, run_of(cell, replicate)) for replicate in range(replicates)]


# ------------------------------------------------------------------------------------------------ peers

def stepped(detector, values):
    alarms = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            alarms.append(place + 1)
    return alarms


def peer(name, parameters):
    from river import drift
    if name == "ADWIN":
        return drift.ADWIN(**parameters)
    if name == "PageHinkley":
        return drift.PageHinkley(**parameters)
    return {"DDM": drift.binary.DDM, "EDDM": drift.binary.EDDM, "HDDM_A": drift.binary.HDDMA, "HDDM_W": drift.binary.HDDMW}[name]()


def tuned():
    """Parameters with which River's detectors alarm once in 10,000 standard normal values, by bisection."""
    def distance(name, parameters):
        total = alarms = 0
        for replicate in range(40):
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([GRID, 99, replicate])))
            alarms += len(stepped(peer(name, parameters), rng.standard_normal(30_000).tolist()))
            total += 30_000
        return total / max(alarms, 1)

    def between(low, high, rises, make):
        for _ in range(9):
            middle = math.sqrt(low * high)
            name, parameters = make(middle)
            if (distance(name, parameters) < NOMINAL) == rises:
                low = middle
            else:
                high = middle
        return make(high if rises else low)

    found = {"ADWIN tuned": between(1e-3, 1.0, False, lambda d: ("ADWIN", {"delta": d, "clock": 1}))}
    for delta in (0.005, 0.1, 0.25):
        made = between(2.0, 400.0, True, lambda h: ("PageHinkley", {"delta": delta, "threshold": h}))
        found[f"PageHinkley {delta} tuned"] = made
    return found


DEFAULTS = {"ADWIN": ("ADWIN", {}), "PageHinkley": ("PageHinkley", {})}
FOR_HITS = {name: (name, {}) for name in ("DDM", "EDDM", "HDDM_A", "HDDM_W")}


def theirs(tunings, cell, replicates):
    """Alarms of each peer, on values standardised by the reference."""
    hits = FAMILIES[cell["family"]].what == HITS
    made = {**DEFAULTS, **tunings, **(FOR_HITS if hits else {})}
    found = {name: [] for name in made}
    for replicate in range(replicates):
        _, _, values, reference = run_of(cell, replicate)
        # Of what has a logarithm they see it, as we do.
        values = np.log(np.maximum(values, 0.5e-3)) if FAMILIES[cell["family"]].what == POSITIVE else values
        past, rest = values[:reference], values[reference:]
        scaled = rest if hits else (rest - past.mean()) / (past.std() or 1.0)
        for name, (which, parameters) in made.items():
            given = rest if name in FOR_HITS else scaled
            found[name].append(stepped(peer(which, parameters), given.astype(int).tolist() if name in FOR_HITS else given.tolist()))
    return found


# ------------------------------------------------------------------------------------------------ oracle

def law(cell):
    """Of cells with a likelihood ratio: ln f1/f0 of values, given the reference's estimates or the truth."""
    family = FAMILIES[cell["family"]]
    change = family.changes[cell["change"]]
    if cell["family"] == "gauss" and change[0] == "mean":
        return "normal", change[1], 0.0, 1.0
    if cell["family"] == "latency" and change[0] == "scale":
        return "normal", math.log(change[1]) / LN[1], LN[0], LN[1]
    if family.what == HITS:
        return "hits", change[1], family.rate, None
    if cell["family"] == "tokens":
        return "tokens", change[1], TOKENS[1], None
    return None


def estimates(kind, past, cell):
    if kind == "normal":
        values = np.log(past) if cell["family"] == "latency" else past
        return values.mean(), values.std(ddof=1)
    if kind == "hits":
        return (past.sum() + 0.5) / (len(past) + 1), None
    return past.mean(), None


def gains(kind, size, estimate, values, cell):
    """ln of the likelihood ratio of each value."""
    at, spread = estimate
    if kind == "normal":
        values = np.log(values) if cell["family"] == "latency" else values
        z = (values - at) / spread
        return size * z - size * size / 2
    if kind == "hits":
        changed = min(at * size, 0.999)
        return np.where(values > 0, math.log(changed / at), math.log((1 - changed) / (1 - at)))
    shape = TOKENS[0]
    p0, p1 = shape / (shape + at), shape / (shape + at * size)
    return values * math.log((1 - p1) / (1 - p0)) + shape * math.log(p1 / p0)


def increments(kind, size, estimate, truth):
    """The cumulative law of a gain under the true null."""
    at, spread = estimate
    if kind == "normal":
        mean = size * (truth[0] - at) / spread - size * size / 2
        return lambda x: stats.norm.cdf(x, mean, size * truth[1] / spread)
    shape = TOKENS[0]
    p0, p1 = shape / (shape + at), shape / (shape + at * size)
    slope, base = math.log((1 - p1) / (1 - p0)), shape * math.log(p1 / p0)
    p = shape / (shape + truth[0])
    return lambda x: stats.nbinom.cdf(np.floor((x - base) / slope), shape, p)


def run_length(cdf, bar, cells=160):
    """Mean values until a CUSUM reaches the bar (Brook and Evans 1972)."""
    width = bar / cells
    middles = (np.arange(cells) + 0.5) * width
    middles[0] = 0.0
    edges = np.arange(1, cells + 1) * width
    below = cdf(edges[None, :] - middles[:, None])
    step = np.diff(np.concatenate([np.zeros((cells, 1)), below], axis=1), axis=1)
    step[:, 0] = below[:, 0]
    return float(np.linalg.solve(np.eye(cells) - step, np.ones(cells))[0])


def hit_lengths(size, estimate, truth, bar, rng, each):
    """The same of hits, drawn: from hit to hit, since only a hit can alarm. By estimate."""
    at = np.repeat(np.array(estimate), each)
    changed = np.minimum(at * size, 0.999)
    up, down = np.log(changed / at), -np.log((1 - changed) / (1 - at))
    total, alarms, sums = np.zeros(len(at)), np.zeros(len(at)), np.zeros(len(at))
    while total.min() < 3 * NOMINAL:
        gap = rng.geometric(truth, len(at))
        sums = np.maximum(0.0, sums - down * (gap - 1)) + up
        total += gap
        over = sums >= bar
        alarms += over
        sums[over] = 0.0
    return total.reshape(-1, each).sum(1) / np.maximum(alarms.reshape(-1, each).sum(1), 0.5)


def bar_for(kind, size, all_estimates, truth, share):
    """The bar at which this share of references has a run length of the nominal one or more."""
    rng = np.random.default_rng(1)

    def reached(bar):
        if kind == "hits":
            lengths = hit_lengths(size, [at for at, _ in all_estimates], truth[0], bar, rng, 60)
        else:
            lengths = np.array([run_length(increments(kind, size, one, truth), bar) for one in all_estimates])
        return np.quantile(lengths, 1 - share)
    low, high = 0.3, 6.0
    while reached(high) < NOMINAL and high < 200:
        high *= 1.6
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < NOMINAL else (low, middle)
    return high


def cusum(gain, bar):
    """Places at which it alarms; it begins anew after each."""
    alarms, total = [], 0.0
    for place, one in enumerate(gain.tolist()):
        total = max(0.0, total + one)
        if total >= bar:
            alarms.append(place + 1)
            total = 0.0
    return alarms


def oracle(cell, replicates):
    known = law(cell)
    if known is None or cell["world"] != "plain":
        return None
    kind, size, at, spread = known
    truth = (at, spread)
    runs = [run_of(cell, replicate) for replicate in range(replicates)]
    own = [estimates(kind, values[:reference], cell) for _, _, values, reference in runs]
    # A reference without a hit tells nothing of how few there are.
    plain = bar_for(kind, size, [truth], truth, 0.5)
    aware = bar_for(kind, size, own[:100], truth, 0.9)
    found = {"plain": [], "aware": []}
    for (_, _, values, reference), estimate in zip(runs, own):
        rest = values[reference:]
        found["plain"].append(cusum(gains(kind, size, truth, rest, cell), plain))
        found["aware"].append(cusum(gains(kind, size, estimate, rest, cell), aware))
    return {**found, "bars": [plain, aware]}


# ------------------------------------------------------------------------------------------------ cells

def cells(small):
    made = []
    for world, families in WORLDS.items():
        for family in families:
            plain = world == "plain"
            references = (1_000,) if seasonal(world) or not plain else REFERENCES
            for reference in references:
                base = {"family": family, "world": world, "reference": reference}
                made.append({**base, "change": None, "shape": None})
                for change in FAMILIES[family].changes:
                    for shape in SHAPES if plain else SHAPES[:1]:
                        made.append({**base, "change": change, "shape": shape})
    if small:
        wanted = {("gauss", None), ("bern05", None), ("latency", None), ("gauss", "mean + 0.5 sd"), ("bern05", "x 2"),
                  ("latency", "x 1.5"), ("latency", "5 % of calls x 5"), ("gauss", "sd x 2")}
        made = [cell for cell in made if (cell["family"], cell["change"]) in wanted and cell["world"] == "plain"
                and cell["reference"] == 1_000 and cell["shape"] in (None, "abrupt")]
    return made


def name_of(cell):
    return " / ".join(str(cell[key]) for key in ("world", "family", "reference", "change", "shape") if cell[key] is not None)


def kept(folder, part, key, make):
    """The answer of a file, made where there is none."""
    os.makedirs(os.path.join(folder, part), exist_ok=True)
    path = os.path.join(folder, part, hashlib.sha256(key.encode()).hexdigest()[:20] + ".json")
    if os.path.exists(path):
        with open(path) as file:
            return json.load(file)
    made = make()
    with open(path + ".new", "w") as file:
        json.dump(made, file)
    os.replace(path + ".new", path)
    return made


def work(job):
    part, cell, given = job
    null = cell["change"] is None
    logarithms = part == "peers" and FAMILIES[cell["family"]].what == POSITIVE
    key = json.dumps([VERSION, cell, given["null" if null else "changed"], given.get("tunings") if part == "peers" else None, logarithms])
    replicates = given["null" if null else "changed"]
    make = {
        "ours": lambda: ours(given["binary"], cell, replicates),
        "peers": lambda: theirs(given["tunings"], cell, max(replicates // 2, 1)),
        "oracle": lambda: oracle(cell, replicates),
    }[part]
    folder = os.path.join(given["out"], given["hash"]) if part == "ours" else given["out"]
    return part, name_of(cell), kept(folder, part, key, make)


def everything(given, small, peers, workers):
    all_cells = cells(small)
    jobs = [("ours", cell, given) for cell in all_cells]
    jobs += [("oracle", cell, given) for cell in all_cells
             if not small and cell["change"] and cell["shape"] == "abrupt" and cell["world"] == "plain"]
    if peers:
        jobs += [("peers", cell, given) for cell in all_cells
                 if cell["reference"] == PEER_REFERENCE and cell["shape"] in (None, "abrupt")]
    answers, began, said = {}, time.time(), 0.0
    with multiprocessing.Pool(workers) as pool:
        for done, (part, name, answer) in enumerate(pool.imap_unordered(work, jobs), 1):
            answers[part, name] = answer
            if time.time() - said > 5 or done == len(jobs):
                said = time.time()
                left = (said - began) / done * (len(jobs) - done)
                print(f"{done} of {len(jobs)} cells, about {left / 60:.0f} min left; last {part}: {name}", file=sys.stderr, flush=True)
    return all_cells, answers


# ------------------------------------------------------------------------------------------------ judging

def distance(alarms, events):
    """Mean values between alarms with its exact 95 % limits (Garwood 1936); infinite without an alarm."""
    low = events / (stats.chi2.ppf(0.975, 2 * alarms + 2) / 2)
    high = math.inf if alarms == 0 else events / (stats.chi2.ppf(0.025, 2 * alarms) / 2)
    return events / alarms if alarms else math.inf, low, high


def null_of(lists, events):
    """Of one null cell: distance, limits, and the share of references that keep the nominal one themselves."""
    counts = np.array([len(one) for one in lists])
    kept = float((counts * NOMINAL <= events).mean())
    mean, low, high = distance(int(counts.sum()), events * len(lists))
    # Alarms come in heaps, from references that are off: the limits are also those over references.
    drawn = np.random.default_rng(1).choice(counts, (2_000, len(counts))).sum(1)
    most, least = np.quantile(drawn, [0.975, 0.025])
    of = lambda alarms: events * len(lists) / alarms if alarms else math.inf
    return mean, min(low, of(most)), max(high, of(least)), kept


def delays(lists):
    """Median and 90 % delay, share missed, and share that had alarmed before."""
    found, missed, early = [], 0, 0
    for alarms in lists:
        early += any(alarm <= BEFORE for alarm in alarms)
        after = [alarm for alarm in alarms if alarm > BEFORE]
        missed += not after
        found.append(after[0] - BEFORE if after else math.inf)
    # The nearest rank: half of infinity is none.
    found.sort()
    at = lambda q: found[min(len(found) - 1, math.ceil(q * len(found)) - 1)]
    return at(0.5), at(0.9), missed / len(lists), early / len(lists)


def shown(number):
    return "-" if math.isinf(number) else f"{number:,.0f}"


def tested(answers):
    return [answer for answer in answers if "untestable" not in answer]


def mostly(answers):
    """Whether enough of a cell's references can be tested for a verdict."""
    return len(tested(answers)) >= MOSTLY * len(answers)


def alarms_of(answers):
    """A run whose reference is refused tells nothing: its change is missed."""
    return [answer.get("alarms", []) for answer in answers]


def report(given, all_cells, answers, peers):
    lines, verdicts = [], []
    ns = [answer["ns"] / answer["events"] for (part, _), some in answers.items() if part == "ours" for answer in tested(some)]
    every = [answer for (part, _), some in answers.items() if part == "ours" for answer in tested(some)]
    compared = sum(answer["blocks"] for answer in every if answer["differ"] is not None)
    differ = sum(answer["differ"] for answer in every if answer["differ"] is not None)
    same_bins = sum(answer["differ_same_bins"] for answer in every if answer["differ"] is not None)
    nulls = [cell for cell in all_cells if cell["change"] is None]
    lines += [f"{len(all_cells)} cells, {given['null']} runs of a null, {given['changed']} of a change; nominal distance {NOMINAL:,} values, "
              f"blocks of {BLOCK}. Distances and delays in values.", ""]
    lines += ["| nothing changes | reference | values between alarms | 95 % limits | references that keep it | gate 2 |", "|---|---|---|---|---|---|"]
    peer_null = {}
    for cell in nulls:
        some = answers["ours", name_of(cell)]
        judged = tested(some)
        where = f"{cell['family']}, {cell['world']}" if cell["world"] != "plain" else cell["family"]
        reference = f"{SEASON_DAYS} days" if seasonal(cell["world"]) else f"{cell['reference']:,}"
        if len(judged) < len(some):
            reason = next(answer["untestable"] for answer in some if "untestable" in answer)
        if not judged:
            lines.append(f"| {where} | {reference} | cannot be tested: {reason} | | | |")
            continue
        mean, low, high, keeps = null_of([answer["alarms"] for answer in judged], QUIET)
        good = low >= NOMINAL and keeps >= 0.9
        if mostly(some):
            verdicts.append(("2", good, f"{where}, {reference}"))
        refused = f" ({len(some) - len(judged)} of {len(some)} refused)" if len(judged) < len(some) else ""
        lines.append(f"| {where} | {reference}{refused} | {shown(mean) if mean < math.inf else 'no alarm'} | {shown(low)} to {shown(high) if high < math.inf else '∞'} | {keeps:.1%} | {('kept' if good else 'MISSED') if mostly(some) else 'no verdict'} |")
        theirs_ = answers.get(("peers", name_of(cell))) if peers else None
        for name, lists in (theirs_ or {}).items():
            peer_null[name, cell["family"], cell["world"]] = null_of(lists, QUIET)
    lines += ["", "| something changes (abruptly) | reference | median delay | 90 % | missed, and alarmed before | oracle: plain, reference-aware | best calibrated peer | tuned ADWIN | gate 3 |", "|---|---|---|---|---|---|---|---|---|"]
    for cell in (cell for cell in all_cells if cell["change"] and cell["shape"] == "abrupt"):
        some = answers["ours", name_of(cell)]
        where = f"{cell['family']} {cell['change']}" + ("" if cell["world"] == "plain" else f", {cell['world']}")
        reference = f"{SEASON_DAYS} days" if seasonal(cell["world"]) else f"{cell['reference']:,}"
        if not mostly(some):
            lines.append(f"| {where} | {reference} | cannot be tested: {len(some) - len(tested(some))} of {len(some)} references refused | | | | | | |")
            continue
        median, ninety, missed, early = delays(alarms_of(some))
        known = answers.get(("oracle", name_of(cell)))
        aware = plain = None
        if known:
            plain, aware = delays(known["plain"])[0], delays(known["aware"])[0]
        calibrated, adwin = [], None
        for name, lists in (answers.get(("peers", name_of(cell))) or {}).items():
            theirs_ = delays(lists)[0]
            if name == "ADWIN tuned":
                adwin = theirs_
            null = peer_null.get((name, cell["family"], cell["world"]))
            # Tuned to the nominal distance, it lies on either side by chance.
            if null and null[2] >= NOMINAL:
                calibrated.append((theirs_, name))
        best = min(calibrated) if calibrated else None
        parts = []
        spread = FAMILIES[cell["family"]].changes[cell["change"]][0] in ("spread", "tail")
        if aware is not None:
            parts.append(("oracle", math.isfinite(median) and median <= 1.4 * aware + BLOCK))
        if best and (math.isfinite(best[0]) or math.isfinite(median)):
            parts.append(("peer", median <= best[0]))
        if spread and adwin is not None:
            parts.append(("half of ADWIN", math.isfinite(median) and median <= adwin / 2))
        for what, good in parts:
            verdicts.append((f"3 {what}", good, f"{where}, {reference}"))
        said = ", ".join(f"{what}: {'kept' if good else 'MISSED'}" for what, good in parts)
        lines.append(f"| {where} | {reference} | {shown(median)} | {shown(ninety)} | {missed:.1%}, {early:.1%} | "
                     + (f"{shown(plain)}, {shown(aware)}" if aware is not None else "")
                     + f" | {shown(best[0]) + ' ' + best[1] if best else ''} | {shown(adwin) if adwin is not None else ''} | {said} |")
    others = [cell for cell in all_cells if cell["change"] and cell["shape"] != "abrupt"]
    if others:
        lines += ["", "| other shapes | reference | linear over 1,000: median, missed | burst of 200: found within 200 and a block, missed |", "|---|---|---|---|"]
        for cell in (cell for cell in others if cell["shape"] == "ramp"):
            ramp, burst = answers["ours", name_of(cell)], alarms_of(answers["ours", name_of({**cell, "shape": "burst"})])
            if not mostly(ramp):
                continue
            median, _, missed, _ = delays(alarms_of(ramp))
            soon = sum(any(BEFORE < alarm <= BEFORE + 200 + BLOCK for alarm in alarms) for alarms in burst) / len(burst)
            lines.append(f"| {cell['family']} {cell['change']} | {cell['reference']:,} | {shown(median)}, {missed:.1%} | {soon:.1%} |")
    if peer_null:
        lines += ["", f"| River's detectors where nothing changes | {' | '.join(sorted({name for name, _, _ in peer_null}))} |"]
        names = sorted({name for name, _, _ in peer_null})
        lines.append("|---|" + "---|" * len(names))
        for family, world in sorted({(family, world) for _, family, world in peer_null}):
            row = [peer_null.get((name, family, world)) for name in names]
            said = [("no alarm" if math.isinf(one[0]) else shown(one[0])) + f" ({one[3]:.0%})" if one else "" for one in row]
            lines.append(f"| {family}{'' if world == 'plain' else ', ' + world} | {' | '.join(said)} |")
        lines += ["", "In brackets the share of references that keep the nominal distance. Peers' tuning: "
                  + "; ".join(f"{name} {parameters}" for name, (_, parameters) in given["tunings"].items()) + "."]
    lines += ["", f"Sketches against values: {differ:,} of {compared:,} decisions differ ({differ / max(compared, 1):.4%}; gate 4 of the grid: < 0.1 %), "
              f"{same_bins:,} ({same_bins / max(compared, 1):.4%}) where both count in the bins that the reference's sketch cuts. "
              f"Making and weighing blocks: {np.median(ns):.0f} ns a value (median; by sketch where values are positive). "
              f"State with its baseline: {max(answer['bytes'] for answer in every):,} bytes at most, of one cell {min(answer['bytes'] for answer in every):,}."]
    lines.append("")
    for gate in sorted({gate for gate, _, _ in verdicts}):
        of = [(good, where) for each, good, where in verdicts if each == gate]
        lines.append(f"Gate {gate}: {sum(good for good, _ in of)} of {len(of)} cells.")
    return "\n".join(lines) + "\n", verdicts, (differ, compared)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--out", default="target/grid")
    parser.add_argument("--report")
    parser.add_argument("--small", action="store_true", help="eight cells, few runs, and an error where they are out of bounds")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--null", type=int, default=200)
    parser.add_argument("--changed", type=int, default=400)
    args = parser.parse_args()
    with open(args.binary, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    given = {"binary": args.binary, "out": args.out, "hash": digest, "null": 10 if args.small else args.null, "changed": 12 if args.small else args.changed}
    if args.peers:
        print("tuning the peers", file=sys.stderr, flush=True)
        given["tunings"] = kept(args.out, "tuning", "tuning 1", tuned)
    all_cells, answers = everything(given, args.small, args.peers, args.workers)
    text, verdicts, (differ, compared) = report(given, all_cells, answers, args.peers)
    print(text)
    if args.report:
        with open(args.report, "w") as file:
            file.write(text)
    if args.small:
        bad = [where for gate, good, where in verdicts if gate == "2" and not good and not few(answers, where)]
        missed = [name for (part, name), some in answers.items() if "/ abrupt" in name and part == "ours"
                  and delays(alarms_of(some))[2] > 0]
        if bad or missed or differ > 0.005 * compared:
            sys.exit(f"out of bounds: {bad}, missed {missed}, {differ} of {compared} decisions differ")


def few(answers, where):
    """Ten runs cannot show that the lower limit is kept; no more alarms than asked for is what they can show."""
    some = tested(answers["ours", f"plain / {where.split(',')[0]} / 1000"])
    return sum(len(answer["alarms"]) for answer in some) * NOMINAL <= QUIET * len(some)


if __name__ == "__main__":
    main()
