#!/usr/bin/env python3
"""What a window test costs by sketches, beside scipy's on the same values: test_cost.py LEEWAY-GRID. Least of some runs of each."""
import json, struct, subprocess, sys, time, warnings
import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

warnings.filterwarnings("ignore")
N, M = 50_000, 10_000
rng = np.random.default_rng(1)
x, y = rng.lognormal(np.log(400), 0.6, N), rng.lognormal(np.log(410), 0.6, M)
ours = json.loads(subprocess.run([sys.argv[1], "cost"], input=struct.pack("<II", N, M) + x.tobytes() + y.tobytes(), stdout=subprocess.PIPE, check=True).stdout)
table = np.array([[N - N // 20, N // 20], [M - M // 18, M // 18]])
counts = lambda values, edges: np.bincount(np.searchsorted(edges, values), minlength=10) / len(values)


def psi():
    edges = np.quantile(x, np.linspace(0.1, 0.9, 9))
    p, q = counts(x, edges), counts(y, edges)
    return ((p - q) * np.log(p / q)).sum()


theirs = {
    "psi": psi,
    "ks": lambda: stats.ks_2samp(x, y, method="asymp"),
    "cvm": lambda: stats.cramervonmises_2samp(x, y, method="asymptotic"),
    "ad": lambda: stats.anderson_ksamp([x, y], variant="midrank"),
    "mann_whitney": lambda: stats.mannwhitneyu(x, y, method="asymptotic"),
    "welch": lambda: stats.ttest_ind(x, y, equal_var=False),
    "wasserstein": lambda: stats.wasserstein_distance(x, y),
    "chi_square": lambda: stats.chi2_contingency(table, correction=False),
    "g": lambda: stats.chi2_contingency(table, correction=False, lambda_="log-likelihood"),
    "jensen_shannon": lambda: jensenshannon(table[0], table[1], 2),
    "fisher": lambda: stats.fisher_exact(table),
}
print(f"| test of {N:,} and {M:,} values | sketches, µs | scipy, µs | ratio |\n|---|---|---|---|")
for name, run in theirs.items():
    least, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < 0.5:
        one = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - one)
    print(f"| `{name}` | {ours[name] * 1e6:,.1f} | {least * 1e6:,.1f} | {least / ours[name]:,.1f} |")
