-- An hour whose minutes are gone is thin: what it holds is added to by minutes that came late.
ALTER TABLE rolled_hour ADD COLUMN thin BIGINT NOT NULL DEFAULT 0;
CREATE INDEX rolled_hour_thin ON rolled_hour (thin, hour_start);
CREATE INDEX tenant_day_day ON tenant_day (day);
CREATE INDEX series_day_series ON series_day (tenant, series_id, day);
CREATE INDEX flush_range_flushed ON flush_range (flushed_at);
CREATE INDEX ledger_minute ON ledger (minute);
CREATE INDEX feedback_time ON feedback (time);
