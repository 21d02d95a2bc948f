-- Offsets begin anew in a recreated topic: by `as_of_offset` alone a session's row of the old topic would stand for ever.
-- So broker time comes first (the fold never lets it go back), then the offset, which tells the records of one
-- millisecond apart. A table's version column cannot be changed, hence another table; whatever is repeated after a crash
-- finds either the old or the new one in its place.

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS version UInt128
    MATERIALIZED bitShiftLeft(toUInt128(toUnixTimestamp64Micro(as_of)), 64) + as_of_offset
    COMMENT 'of the rows of a session the one with the highest stands';
CREATE TABLE IF NOT EXISTS sessions_by_version AS sessions ENGINE = ReplacingMergeTree(version) ORDER BY session_id;
INSERT INTO sessions SELECT * FROM sessions_by_version;
CREATE OR REPLACE TABLE sessions_by_version AS sessions ENGINE = ReplacingMergeTree(version) ORDER BY session_id;
INSERT INTO sessions_by_version SELECT * FROM sessions;
EXCHANGE TABLES sessions AND sessions_by_version;
-- What came between the copy and the exchange.
INSERT INTO sessions SELECT * FROM sessions_by_version;
DROP TABLE sessions_by_version;
