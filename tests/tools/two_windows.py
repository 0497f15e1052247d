"""Random pairs of windows and what scipy says of them, a JSON object a line: two_windows.py SEED COUNT."""
import json, math, sys, warnings
import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

warnings.filterwarnings("ignore")
seed, count = int(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(seed)
families = {
    "normal": lambda n: rng.standard_normal(n),
    "lognormal": lambda n: rng.lognormal(6, 0.6, n),
    "counts": lambda n: rng.poisson(3, n).astype(float),
    "ratings": lambda n: rng.choice([1.0, 2, 3, 4, 5], n, p=[0.05, 0.08, 0.17, 0.35, 0.35]),
    "heavy": lambda n: rng.standard_t(2, n),
}
for case in range(count):
    name = list(families)[case % 5]
    # Every hundredth pair is large: there the law of Kolmogorov's statistic is that of the limit.
    large = case % 100 == 99
    n, m = (int(v) for v in (rng.choice([2500, 3000, 20000], 2) if large else rng.choice([10, 12, 20, 25, 40, 60, 120, 300], 2)))
    shift, scale = [(0, 1), (0.3, 1), (0, 1.5), (1, 1)][(case // 5) % 4]
    shift = shift / 10 if large else shift
    x = np.round(families[name](n), 6)
    y = np.round(families[name](m) * scale + shift * (x.std() or 1), 6)
    exact = n * m <= 4_000_000
    k = stats.ks_2samp(x, y, method="exact" if exact else "asymp")
    c = stats.cramervonmises_2samp(x, y, method="asymptotic")
    a = stats.anderson_ksamp([x, y], variant="midrank")
    w = stats.mannwhitneyu(x, y, method="asymptotic")
    t = stats.ttest_ind(x, y, equal_var=False)
    told = {
        "ks": [k.statistic, k.pvalue], "cvm": [c.statistic, c.pvalue], "ad": [a.statistic, a.pvalue],
        "mann_whitney": [w.statistic, w.pvalue], "welch": [t.statistic, t.pvalue],
    }
    if case % 20 == 0:
        # Its p-value is drawn, which takes as long as all the others together.
        told["wasserstein"] = [stats.wasserstein_distance(x, y), None]
    bins = int(rng.integers(2, 9))
    p = rng.dirichlet(np.ones(bins) * 2)
    q = p if case % 3 == 0 else rng.dirichlet(np.ones(bins) * 2)
    table = np.array([rng.multinomial(int(rng.integers(60, 3000)), r) for r in (p, q)])
    table = table[:, table.sum(0) > 0]
    rows = {}
    if table.shape[1] > 1:
        g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        h = stats.chi2_contingency(table, correction=False)
        P, Q = table[0] / table[0].sum(), table[1] / table[1].sum()
        rows = {
            "chi_square": [h.statistic, h.pvalue], "g": [g.statistic, g.pvalue],
            "jensen_shannon": [jensenshannon(P, Q, 2), None],
            "hellinger": [float(np.linalg.norm(np.sqrt(P) - np.sqrt(Q)) / math.sqrt(2)), None],
            "total_variation": [0.5 * np.abs(P - Q).sum(), None],
        }
        if table.shape[1] == 2:
            f = stats.fisher_exact(table)
            rows["fisher"] = [f.statistic, f.pvalue]
            if table.min() >= 10:
                # The pooled test of two proportions is the signed root of Pearson's χ².
                z = math.sqrt(h.statistic) * np.sign(Q[1] - P[1])
                rows["two_proportions"] = [z, h.pvalue]
    finite = lambda pair: [None if v is None or not math.isfinite(v) else float(v) for v in pair]
    print(json.dumps({
        "name": f"{name} {seed}/{case}", "x": x.tolist(), "y": y.tolist(), "table": table.tolist(),
        "values": {key: finite(pair) for key, pair in told.items()}, "tables": {key: finite(pair) for key, pair in rows.items()},
    }))
