-- A block is a part, and as a wide part some 250 files, two or three for each column: making and deleting them took
-- an eighth of an insert's processor time, and half on a file system that had many files deleted. Until merges have made it
-- large, a part is now one file.

ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 268435456;
