SELECT log_id, max(offset) + 1 AS next_offset
FROM events WHERE true
GROUP BY log_id ORDER BY log_id

