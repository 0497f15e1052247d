-- What is usual. A basis is what rules measure alike: measure, labels, block. Blocks of a day by stream; the row of no
-- stream says that the day was read. Edges are where a stream's values are cut into bins, once and for all.
CREATE TABLE stream (
    basis TEXT NOT NULL,
    stream TEXT NOT NULL,
    labels TEXT NOT NULL,
    edges BYTEA NOT NULL,
    PRIMARY KEY (basis, stream)
);
CREATE TABLE stream_day (
    basis TEXT NOT NULL,
    stream TEXT NOT NULL,
    day BIGINT NOT NULL,
    blocks BYTEA NOT NULL,
    PRIMARY KEY (basis, stream, day)
);
CREATE INDEX finding_rule ON finding (rule, at);
-- What the detectors of a rule's streams hold against the present, written with the rule's progress.
CREATE TABLE detector_state (
    rule TEXT NOT NULL PRIMARY KEY,
    basis TEXT NOT NULL,
    body BYTEA NOT NULL
);
