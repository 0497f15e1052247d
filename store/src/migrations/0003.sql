ALTER TABLE feedback ADD COLUMN trace BYTEA;
CREATE TABLE pane_hour (
    tenant TEXT NOT NULL, series_id BYTEA NOT NULL, hour_start BIGINT NOT NULL, level TEXT NOT NULL,
    counts BYTEA NOT NULL, sketches BYTEA NOT NULL, PRIMARY KEY (tenant, hour_start, series_id));
CREATE TABLE rolled_hour (tenant TEXT NOT NULL, hour_start BIGINT NOT NULL, PRIMARY KEY (tenant, hour_start));
CREATE TABLE unrolled_hour (tenant TEXT NOT NULL, hour_start BIGINT NOT NULL, PRIMARY KEY (tenant, hour_start));
INSERT INTO unrolled_hour (tenant, hour_start) SELECT DISTINCT tenant, window_start - window_start % 3600000000 FROM pane_delta;
