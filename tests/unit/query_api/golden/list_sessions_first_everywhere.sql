SELECT session_id, toString(newest_first) AS sort_key
FROM sessions WHERE true
ORDER BY newest_first, session_id
LIMIT {limit:UInt32}

-- limit = 51
