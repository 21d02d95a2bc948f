-- An event is asked for by its id alone (proofs): without this, every id of the table would be read.

ALTER TABLE events ADD INDEX IF NOT EXISTS event_ids event_id TYPE bloom_filter(0.001) GRANULARITY 1;
ALTER TABLE events MATERIALIZE INDEX IF EXISTS event_ids;
