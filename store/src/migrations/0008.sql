-- Postgres alone: rows are found by their window. A key that nobody looks up cost as much as the rows, for each row of each flush.
ALTER TABLE pane_delta DROP CONSTRAINT pane_delta_pkey;
-- Postgres alone: rows of one window share an entry of the index.
CREATE INDEX pane_delta_window ON pane_delta (tenant, window_start);
