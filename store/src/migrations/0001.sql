CREATE TABLE source_partition (
    source TEXT NOT NULL, topic TEXT NOT NULL, incarnation TEXT NOT NULL, part BIGINT NOT NULL,
    next_offset BIGINT NOT NULL, epoch BIGINT NOT NULL, owner TEXT NOT NULL,
    watermark BIGINT NOT NULL, newest_at BIGINT NOT NULL, high_offset BIGINT NOT NULL,
    attempts BIGINT NOT NULL, marker BIGINT, marker_hits BIGINT NOT NULL, flushed_at BIGINT NOT NULL,
    PRIMARY KEY (source, topic, incarnation, part));
CREATE TABLE flush_range (
    source TEXT NOT NULL, topic TEXT NOT NULL, incarnation TEXT NOT NULL, part BIGINT NOT NULL,
    from_offset BIGINT NOT NULL, to_offset BIGINT NOT NULL, flush_id BIGINT NOT NULL, epoch BIGINT NOT NULL,
    owner TEXT NOT NULL, flushed_at BIGINT NOT NULL, gap BIGINT NOT NULL,
    PRIMARY KEY (source, topic, incarnation, part, from_offset));
CREATE INDEX flush_range_flush ON flush_range (flush_id);
CREATE INDEX flush_range_gap ON flush_range (flushed_at) WHERE gap = 1;
CREATE TABLE series (
    tenant TEXT NOT NULL, series_id BYTEA NOT NULL, level TEXT NOT NULL, labels TEXT NOT NULL,
    operation TEXT NOT NULL, served BIGINT NOT NULL, overflow BIGINT NOT NULL, first_seen_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, series_id));
CREATE TABLE series_day (
    tenant TEXT NOT NULL, day BIGINT NOT NULL, series_id BYTEA NOT NULL,
    PRIMARY KEY (tenant, day, series_id));
CREATE TABLE tenant_day (
    tenant TEXT NOT NULL, day BIGINT NOT NULL, series BIGINT NOT NULL, folded_calls BIGINT NOT NULL,
    PRIMARY KEY (tenant, day));
CREATE TABLE pane_delta (
    tenant TEXT NOT NULL, series_id BYTEA NOT NULL, window_start BIGINT NOT NULL, flush_id BIGINT NOT NULL,
    n BIGINT NOT NULL, errors BIGINT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL, counts BYTEA NOT NULL, sketches BYTEA NOT NULL,
    p50_ms DOUBLE PRECISION, p95_ms DOUBLE PRECISION, p99_ms DOUBLE PRECISION,
    PRIMARY KEY (tenant, window_start, series_id, flush_id));
CREATE TABLE open_window (
    tenant TEXT NOT NULL, window_start BIGINT NOT NULL, flushes BIGINT NOT NULL,
    PRIMARY KEY (tenant, window_start));
CREATE INDEX open_window_start ON open_window (window_start);
CREATE TABLE call_index (
    tenant TEXT NOT NULL, call_key BYTEA NOT NULL, facet TEXT NOT NULL, first_seen_day BIGINT NOT NULL,
    digest BIGINT NOT NULL,
    PRIMARY KEY (tenant, call_key, facet));
CREATE INDEX call_index_day ON call_index (first_seen_day);
CREATE TABLE ledger (
    source TEXT NOT NULL, topic TEXT NOT NULL, incarnation TEXT NOT NULL, part BIGINT NOT NULL, minute BIGINT NOT NULL,
    consumed BIGINT NOT NULL, decoded BIGINT NOT NULL, undecodable BIGINT NOT NULL, seen BIGINT NOT NULL,
    on_time BIGINT NOT NULL, late BIGINT NOT NULL, kept BIGINT NOT NULL, future BIGINT NOT NULL,
    duplicate BIGINT NOT NULL, merged BIGINT NOT NULL, skipped BIGINT NOT NULL, dead_lettered BIGINT NOT NULL,
    unindexed BIGINT NOT NULL, conflicting BIGINT NOT NULL, unknown_fields BIGINT NOT NULL,
    PRIMARY KEY (source, topic, incarnation, part, minute));
CREATE TABLE dead_letter (
    source TEXT NOT NULL, topic TEXT NOT NULL, incarnation TEXT NOT NULL, part BIGINT NOT NULL,
    source_offset BIGINT NOT NULL, record BIGINT NOT NULL, reason TEXT NOT NULL, field TEXT NOT NULL,
    bytes BIGINT NOT NULL, received_at BIGINT NOT NULL, exported BIGINT NOT NULL,
    PRIMARY KEY (source, topic, incarnation, part, source_offset, record));
CREATE INDEX dead_letter_received ON dead_letter (received_at);
CREATE INDEX dead_letter_exported ON dead_letter (exported, received_at);
CREATE TABLE feedback (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE change (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE evaluation (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE incident (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE experiment (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE figure (
    tenant TEXT NOT NULL, id TEXT NOT NULL, time BIGINT NOT NULL, app TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE lease (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch BIGINT NOT NULL, until_at BIGINT NOT NULL);
CREATE TABLE rule_progress (
    rule TEXT PRIMARY KEY, version TEXT NOT NULL, through BIGINT NOT NULL);
CREATE TABLE alert (
    fingerprint TEXT PRIMARY KEY, rule TEXT NOT NULL, rule_version TEXT NOT NULL, severity TEXT NOT NULL,
    labels TEXT NOT NULL, state TEXT NOT NULL, active_at BIGINT, fired_at BIGINT, resolved_at BIGINT,
    keep_firing_since BIGINT, last_at BIGINT NOT NULL, last_seen_at BIGINT NOT NULL, sequence BIGINT NOT NULL,
    episode BIGINT NOT NULL, evidence TEXT NOT NULL);
CREATE TABLE finding (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, rule TEXT NOT NULL, at BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX finding_fingerprint ON finding (fingerprint, at);
CREATE TABLE notice (
    id TEXT PRIMARY KEY, group_key TEXT NOT NULL, receiver TEXT NOT NULL, sequence BIGINT NOT NULL,
    fingerprint TEXT NOT NULL, status TEXT NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL,
    state TEXT NOT NULL, attempts BIGINT NOT NULL, next_attempt_at BIGINT NOT NULL,
    claimed_by TEXT NOT NULL, claimed_until BIGINT NOT NULL, done_at BIGINT);
CREATE INDEX notice_due ON notice (state, next_attempt_at);
CREATE INDEX notice_group ON notice (group_key, receiver, sequence);
CREATE INDEX notice_fingerprint ON notice (fingerprint);
CREATE TABLE delivery (
    notice TEXT NOT NULL, attempt BIGINT NOT NULL, at BIGINT NOT NULL, outcome TEXT NOT NULL, code BIGINT,
    latency_ms BIGINT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (notice, attempt));
CREATE TABLE receiver_state (
    receiver TEXT PRIMARY KEY, disabled_at BIGINT, detail TEXT NOT NULL);
