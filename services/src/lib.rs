//! Leeway: wires the steps, consumes Kafka, serves HTTP; one executable.
