ALTER TABLE call_index ADD COLUMN whole BIGINT NOT NULL DEFAULT 1;
ALTER TABLE call_index ADD COLUMN series_id BYTEA;
ALTER TABLE call_index ADD COLUMN minute BIGINT;
ALTER TABLE feedback ADD COLUMN target BYTEA;
ALTER TABLE feedback ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE feedback ADD COLUMN given BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN micro BIGINT;
ALTER TABLE feedback ADD COLUMN state TEXT NOT NULL DEFAULT 'unjoined';
ALTER TABLE feedback ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN received_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN next_try_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN applied BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN applied_micro BIGINT;
ALTER TABLE feedback ADD COLUMN series_id BYTEA;
ALTER TABLE feedback ADD COLUMN minute BIGINT;
CREATE INDEX feedback_due ON feedback (state, next_try_at);
CREATE INDEX feedback_minute ON feedback (minute);
CREATE TABLE imported (
    id TEXT PRIMARY KEY, from_at BIGINT NOT NULL, to_at BIGINT NOT NULL, simulated BIGINT NOT NULL,
    note TEXT NOT NULL, imported_at BIGINT NOT NULL);
CREATE TABLE report (
    week TEXT NOT NULL, receiver TEXT NOT NULL, sent_at BIGINT NOT NULL, PRIMARY KEY (week, receiver));
CREATE INDEX finding_at ON finding (at);
