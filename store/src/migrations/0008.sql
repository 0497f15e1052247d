-- Postgres alone: rows are found by their window, and rows of one window share an entry of the index. It is made first: readers go on meanwhile.
CREATE INDEX pane_delta_window ON pane_delta (tenant, window_start);
-- Postgres alone: a key that nobody looks up cost as much as the rows, for each row of each flush.
ALTER TABLE pane_delta DROP CONSTRAINT pane_delta_pkey;
-- Postgres alone: rows go from a table that is replicated only where something tells them apart.
ALTER TABLE pane_delta REPLICA IDENTITY FULL;
