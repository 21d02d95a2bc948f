SELECT state_log_id AS log_id, max(state_offset) + 1 AS next_offset
FROM sessions WHERE true AND state_log_id IN {logs:Array(String)}
GROUP BY state_log_id

-- logs = ('states:0', 'states:1')
