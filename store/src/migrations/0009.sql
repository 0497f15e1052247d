-- Runs of a suite are found by its name.
CREATE INDEX evaluation_suite ON evaluation (name, time);
