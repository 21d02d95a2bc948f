-- Full text in any script: case and form of letters are folded; what no ASCII separator parts is parted here. Scripts
-- that write no spaces (Han, kana, Thai, Lao, Burmese, Khmer) become words of one character, so that any piece of such
-- a text is a phrase; punctuation beyond ASCII separates. The same rule in Python: query_api/search/words.py.

ALTER TABLE events DROP INDEX IF EXISTS content_words;
ALTER TABLE events ADD INDEX IF NOT EXISTS content_text content TYPE text(tokenizer = splitByNonAlpha, preprocessor =
    if(isValidASCII(content), lower(content), replaceRegexpAll(normalizeUTF8NFKCCasefold(content), '([\\x{0E00}-\\x{0EFF}\\x{1000}-\\x{109F}\\x{1780}-\\x{17FF}\\x{2E80}-\\x{2FFF}\\x{3005}-\\x{3007}\\x{3021}-\\x{3029}\\x{3031}-\\x{3035}\\x{3041}-\\x{30FF}\\x{31F0}-\\x{31FF}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{F900}-\\x{FAFF}\\x{20000}-\\x{3FFFF}])|[\\x{80}-\\x{A9}\\x{AB}-\\x{B4}\\x{B6}-\\x{B9}\\x{BB}-\\x{BF}\\x{D7}\\x{F7}\\x{2000}-\\x{206F}\\x{2190}-\\x{2BFF}\\x{3000}-\\x{3004}\\x{3008}-\\x{3020}\\x{302A}-\\x{3030}\\x{FE10}-\\x{FE6F}\\x{FF00}-\\x{FF0F}]', ' \\1 ')));
ALTER TABLE events MATERIALIZE INDEX IF EXISTS content_text;

ALTER TABLE events DROP INDEX IF EXISTS thinking_words;
ALTER TABLE events ADD INDEX IF NOT EXISTS thinking_text thinking TYPE text(tokenizer = splitByNonAlpha, preprocessor =
    if(isValidASCII(thinking), lower(thinking), replaceRegexpAll(normalizeUTF8NFKCCasefold(thinking), '([\\x{0E00}-\\x{0EFF}\\x{1000}-\\x{109F}\\x{1780}-\\x{17FF}\\x{2E80}-\\x{2FFF}\\x{3005}-\\x{3007}\\x{3021}-\\x{3029}\\x{3031}-\\x{3035}\\x{3041}-\\x{30FF}\\x{31F0}-\\x{31FF}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{F900}-\\x{FAFF}\\x{20000}-\\x{3FFFF}])|[\\x{80}-\\x{A9}\\x{AB}-\\x{B4}\\x{B6}-\\x{B9}\\x{BB}-\\x{BF}\\x{D7}\\x{F7}\\x{2000}-\\x{206F}\\x{2190}-\\x{2BFF}\\x{3000}-\\x{3004}\\x{3008}-\\x{3020}\\x{302A}-\\x{3030}\\x{FE10}-\\x{FE6F}\\x{FF00}-\\x{FF0F}]', ' \\1 ')));
ALTER TABLE events MATERIALIZE INDEX IF EXISTS thinking_text;

-- Lists read a few rows here and there: small granules in small compressed blocks, so that little else is read with them.

CREATE OR REPLACE TABLE sessions_in_small_granules AS sessions ENGINE = ReplacingMergeTree(version) ORDER BY session_id
SETTINGS index_granularity = 128, min_compress_block_size = 1024;
INSERT INTO sessions_in_small_granules SELECT * FROM sessions;
EXCHANGE TABLES sessions AND sessions_in_small_granules;
-- What came between the copy and the exchange.
INSERT INTO sessions SELECT * FROM sessions_in_small_granules;
DROP TABLE sessions_in_small_granules;
