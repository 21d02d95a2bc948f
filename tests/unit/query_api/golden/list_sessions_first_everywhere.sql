SELECT session_id, newest_first, toString(newest_first) AS sort_key
FROM sessions WHERE true
ORDER BY newest_first, session_id
LIMIT {limit:UInt32}

-- limit = 51
