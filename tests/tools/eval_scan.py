#!/usr/bin/env python3
"""What the scan finds in labelled files, as gates. usage: eval_scan.py LEEWAY DATA_DIR [--json]

Runs `LEEWAY scan --jsonl` over every labelled file, scores it with the folder's own score.py, and prints each gate with
its goal and the best figure published for another tool (see docs/scan.md). Exit code 1 where a gate is missed."""
import collections, json, math, os, subprocess, sys, tempfile

FILES = ["gen_pii", "gen_near_miss", "gen_hard_negative", "clean_technical", "presidio_research", "secrets",
         "gitleaks_false_positives", "detect_secrets_tests", "provenance_stream", "safety_markers", "jailbreak",
         "bipia_email_injection", "xstest_refusals"]


def f1(x):
    p, r = x["precision"], x["recall"]
    return 2 * p * r / (p + r) if p and r else 0.0


def gates(score, calibration, by_kind):
    pii, peer = score["gen_pii"], "-"
    kinds = {k: v["recall"] for k, v in pii.items() if k != "_all" and v["gold"]}
    worst = min(kinds, key=kinds.get)
    research, marks, stream = score["presidio_research"], score["safety_markers"], score["provenance_stream"]
    phone = research["PHONE"]
    others = {k: v for k, v in research.items() if k in ("EMAIL", "CREDIT_CARD", "IBAN", "US_SSN", "US_DL") and v["gold"]}
    rarest = min(others, key=lambda kind: others[kind]["recall"])
    wrongest = min(others, key=lambda kind: others[kind]["precision"] or 0.0)
    secrets = score["secrets"]["all"]
    recalls = [v["recall"] for v in stream.values() if v["gold"]]
    precisions = [v["precision"] for v in stream.values() if v["gold"]]
    cross = stream["cross_tenant"]
    jail = score["jailbreak"]["all"]
    rows = [
        ("G1 typed recall, all kinds", pii["_all"]["recall"], ">=", .97, "0.63 Presidio, all on"),
        (f"G1 worst kind ({worst})", kinds[worst], ">=", .90, peer),
        ("G2 near-miss documents flagged", score["gen_near_miss"]["_all"]["docs_flagged"], "<=", .005, "0.008 Presidio"),
        ("G2 hard negatives flagged", score["gen_hard_negative"]["_all"]["docs_flagged"], "<=", .005, "0.046 Presidio"),
        ("G2 clean documents flagged per MB", score["clean_technical"]["_all"]["flagged_per_mb"], "<=", .5, "0.7 scrubadub"),
        ("G3 card recall", research["CREDIT_CARD"]["recall"], ">=", .99, "0.91 Presidio"),
        ("G3 phone F1", f1(phone), ">=", .80, "0.77 pii"),
        ("G3 phone precision", phone["precision"], ">=", .85, "0.76 Presidio"),
        (f"G3 worst other kind's recall ({rarest})", others[rarest]["recall"], ">=", .99, "0.91 Presidio"),
        (f"G3 worst other kind's precision ({wrongest})", others[wrongest]["precision"], ">=", .95, peer),
        ("G4 secrets found", secrets["recall"], ">=", .95, "0.82 gitleaks' rules"),
        ("G4 placeholders flagged", secrets["false_positive_rate"], "<=", .02, "0"),
        ("G4 literals flagged", score["gitleaks_false_positives"]["all"]["false_positive_rate"], "<=", .10, "0.14"),
        ("G6 origin, mean recall", sum(recalls) / len(recalls), ">=", .97, peer),
        ("G6 origin, mean precision", sum(precisions) / len(precisions), ">=", .98, peer),
        ("G6 cross-tenant recall", cross["recall"], ">=", .97, "0.62 by raw text"),
        ("G6 cross-tenant precision", cross["precision"], ">=", 1.0, peer),
        ("G7 refusal F1 (fitted on this half)", f1(score["xstest_refusals"]["all"]), ">=", .88, "0.73"),
        ("G7 jailbreak recall (fitted on this half)", jail["recall"], ">=", .90, "0.44"),
        ("G7 jailbreak false positives", jail["false_positive_rate"], "<=", .01, peer),
        ("G7 invisible F1", f1(marks["invisible"]), ">=", .98, "0.92"),
        ("G7 invisible false positives", marks["invisible"]["false_positive_rate"], "<=", .02, "0.42"),
        ("G7 system prompt leak F1", f1(marks["sysprompt_leak"]), ">=", .95, "0.78"),
        ("G7 exfiltration F1", f1(marks["md_exfil"]), ">=", .95, peer),
        ("G7 encoded F1", f1(marks["encoded"]), ">=", .95, peer),
        ("G7 repetition F1", f1(marks["repetition"]), ">=", .95, peer),
        ("G8 right among p >= 0.9, 1:100", calibration, ">=", .95, peer),
    ]
    surely = min(by_kind, key=lambda kind: by_kind[kind][2])
    rows.append((f"G8 kind by kind, surely right ({surely})", by_kind[surely][2], ">=", .95, peer))
    met = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}
    return [dict(gate=g, value=round(v or 0.0, 4), goal=f"{op} {goal}", met=met[op](v or 0.0, goal), other=other)
            for g, v, op, goal, other in rows]


def lower(right, n, alpha=.05):
    """Clopper and Pearson's lower limit of a share, by bisection of the binomial tail."""
    if right == n:
        return alpha ** (1 / n) if n else 0.0
    low, high = 0.0, right / n
    choose = lambda k: math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    for _ in range(60):
        p = (low + high) / 2
        tail = sum(math.exp(choose(k) + k * math.log(p) + (n - k) * math.log1p(-p)) for k in range(right, n + 1))
        low, high = (p, high) if tail < alpha else (low, p)
    return low


def iou(a, b):
    both = min(a[1], b[1]) - max(a[0], b[0])
    return both / (max(a[1], b[1]) - min(a[0], b[0])) if both > 0 else 0.0


def kinds(data, predictions):
    """By kind: values told at p >= 0.9, how many were right, and how many must be at least."""
    told = collections.defaultdict(lambda: [0, 0])
    for name in ["gen_pii", "gen_near_miss", "gen_hard_negative", "clean_technical"]:
        for line in open(os.path.join(data, name + ".jsonl"), encoding="utf-8"):
            row = json.loads(line)
            spans = [((s["bstart"], s["bend"]), s["type"]) for s in row.get("spans", [])]
            for start, end, kind in predictions[name].get(row["id"], {}).get("spans", []):
                told[kind][0] += 1
                told[kind][1] += any(kind == gold and iou((start, end), span) >= .5 for span, gold in spans)
    return {kind: (n, right, lower(right, n)) for kind, (n, right) in sorted(told.items())}


def calibration(data, predictions):
    """Share of alerts that are right where one document in 101 holds something."""
    def rows(name):
        return [json.loads(l) for l in open(os.path.join(data, name + ".jsonl"), encoding="utf-8")]
    right = wrong = 0
    positive = rows("gen_pii")
    for row in positive:
        bytes_ = [(s["bstart"], s["bend"]) for s in row["spans"]]
        for start, end, _ in predictions["gen_pii"].get(row["id"], {}).get("spans", []):
            hit = any(start < b and a < end for a, b in bytes_)
            right, wrong = right + hit, wrong + (not hit)
    negatives, false = 0, 0
    for name in ["gen_near_miss", "gen_hard_negative", "clean_technical"]:
        for row in rows(name):
            negatives += 1
            false += len(predictions[name].get(row["id"], {}).get("spans", []))
    return right / (right + wrong + false * 100 * len(positive) / negatives)


def main():
    leeway, data = sys.argv[1:3]
    predictions = collections.defaultdict(dict)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as out:
        for name in FILES:
            path = os.path.join(data, name + ".jsonl")
            done = subprocess.run([leeway, "scan", "--jsonl", path], capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip()}")
            out.write(done.stdout)
            for line in done.stdout.splitlines():
                row = json.loads(line)
                predictions[name][row["id"]] = row
        out.flush()
        scored = subprocess.run([sys.executable, os.path.join(data, "score.py"), data, out.name],
                                capture_output=True, text=True, check=True)
    by_kind = kinds(data, predictions)
    table = gates(json.loads(scored.stdout), calibration(data, predictions), by_kind)
    if "--json" in sys.argv:
        print(json.dumps(table))
    else:
        for row in table:
            print(f"{'ok    ' if row['met'] else 'MISSED'} {row['gate']:44} {row['value']:8.4f}  goal {row['goal']:9}  others {row['other']}")
        print("told at p >= 0.9, by kind: right of all, and the share that must be right at least (95 %)")
        for kind, (n, right, least) in by_kind.items():
            print(f"  {kind:18} {right:5} of {n:5}  {least:.3f}")
    sys.exit(0 if all(row["met"] for row in table) else 1)


if __name__ == "__main__":
    main()
