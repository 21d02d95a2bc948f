-- The words that the text indices know, for searches by a word's beginning. As views, since on a cluster each shard has
-- words of its own; and with the definer's rights, so that whoever may read the tables needs no table function.

CREATE VIEW IF NOT EXISTS words_of_content DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT token FROM mergeTreeTextIndex(currentDatabase(), events, content_text);

CREATE VIEW IF NOT EXISTS words_of_thinking DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT token FROM mergeTreeTextIndex(currentDatabase(), events, thinking_text);
