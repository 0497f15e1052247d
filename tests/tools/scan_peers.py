#!/usr/bin/env python3
"""How fast and how right other tools are on the same texts in the same run. usage: scan_peers.py LEEWAY DATA_DIR

Prints MB per CPU-second of `LEEWAY scan --jsonl`, of Presidio (default recognizers, a blank English tokenizer, no model of
names) and of Hyperscan over a set of shapes, and the ratios. Tools that are not installed are told as skipped."""
import json, os, resource, subprocess, sys, tempfile, time


def rows(data, name, most):
    with open(os.path.join(data, name + ".jsonl"), encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in list(lines)[:most]]


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def leeway(binary, texts):
    """CPU seconds of the command over many copies, less those over none: start and set-up do not count."""
    with tempfile.TemporaryDirectory() as folder:
        def run(copies):
            path = os.path.join(folder, "rows.jsonl")
            with open(path, "w", encoding="utf-8") as out:
                for copy in range(copies):
                    for n, text in enumerate(texts):
                        out.write(json.dumps({"id": f"{copy}-{n}", "text": text}) + "\n")
            began = children()
            subprocess.run([binary, "scan", "--jsonl", path], stdout=subprocess.DEVNULL, check=True)
            return children() - began
        run(1)
        copies = 40
        few, many = run(1), run(1 + copies)
        return (many - few) / copies


def presidio():
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

    class Blank(NlpEngine):
        """Tokens and small letters; no model can be downloaded here, and names are not compared."""
        def __init__(self):
            self.nlp = spacy.blank("en")
        def load(self): pass
        def is_loaded(self): return True
        def process_text(self, text, language):
            tokens = self.nlp(text)
            return NlpArtifacts(entities=[], tokens=tokens, tokens_indices=[token.idx for token in tokens],
                                lemmas=[token.text.lower() for token in tokens], nlp_engine=self, language=language)
        def process_batch(self, texts, language, **_):
            return ((text, self.process_text(text, language)) for text in texts)
        def is_stopword(self, word, language): return False
        def is_punct(self, word, language): return False
        def get_supported_entities(self): return []
        def get_supported_languages(self): return ["en"]

    engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    engine.analyze("Call +1 212 555 7821.", language="en")
    return lambda text: engine.analyze(text, language="en")


def hyperscan():
    import hyperscan as hs
    shapes = [rb"\+\d{1,3}[ .-]?\d{1,5}(?:[ .-]?\d{1,5}){1,5}", rb"\d{3}[-. ]\d{3}[-. ]\d{4}", rb"\d{3}-\d{2}-\d{4}", rb"\b\d{9}\b",
              rb"\b\d{10}\b", rb"\b\d{11}\b", rb"(?:\d{4}[ -]?){3}\d{4}", rb"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}",
              rb"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", rb"\b(?:\d{1,3}\.){3}\d{1,3}\b", rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
              rb"gh[pousr]_[A-Za-z0-9]{36}", rb"AKIA[A-Z2-7]{16}", rb"sk-[A-Za-z0-9_-]{20,}", rb"xox[abprs]-[A-Za-z0-9-]{10,}",
              rb"\b[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b", rb"\b[A-Z]{5}\d{4}[A-Z]\b", rb"\b\d{8}[A-Z]\b", rb"0x[0-9a-fA-F]{40}"]
    db = hs.Database()
    db.compile(expressions=shapes, ids=list(range(len(shapes))), elements=len(shapes), flags=[hs.HS_FLAG_SINGLEMATCH] * len(shapes))
    scratch = hs.Scratch(db)
    return lambda text: db.scan(text.encode(), match_event_handler=lambda *_: None, scratch=scratch)


def timed(scan, texts):
    began = time.process_time()
    for text in texts:
        scan(text)
    return time.process_time() - began


def main():
    binary, data = sys.argv[1:3]
    for name, texts in [("mixed", rows(data, "clean_technical", 200) + rows(data, "presidio_research", 200)), ("dense", rows(data, "gen_pii", 600))]:
        size = sum(len(text.encode()) for text in texts) / 1e6
        ours = leeway(binary, texts)
        print(f"{name}: {size:.2f} MB; leeway scan --jsonl {size / ours:.1f} MB per CPU-second, JSON and printing included")
        for tool, make in [("presidio", presidio), ("hyperscan, 19 shapes, no checks", hyperscan)]:
            try:
                scan = make()
            except ImportError as error:
                print(f"  {tool}: skipped ({error})")
                continue
            theirs = timed(scan, texts)
            print(f"  {tool}: {size / theirs:.2f} MB per CPU-second; leeway takes {ours / theirs:.4f} of its time ({theirs / ours:.1f} times as fast)")


if __name__ == "__main__":
    main()
