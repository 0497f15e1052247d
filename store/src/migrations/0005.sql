-- Values that calls held, as keyed hashes, where there is no Kafka to keep them. The key is not here.
CREATE TABLE mention (
    day BIGINT NOT NULL,
    print BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    user_print BIGINT NOT NULL,
    session_print BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (day, print, tenant, user_print, session_print)
);
