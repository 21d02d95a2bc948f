WITH (SELECT (min(broker_time), max(broker_time)) FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID}) AS span
SELECT log_id, offset, broker_time, leaf_index, lower(hex(leaf_hash)) AS leaf_hash,
  base64Encode(events.key) AS key, kind, flags, rejected_reason, base64Encode(events.value) AS value,
  ifNull(length(events.value), 0) AS body_bytes
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND (log_id, offset) IN (SELECT log_id, offset FROM (
  SELECT *, sum(body_bytes) OVER (ORDER BY log_id, offset ROWS UNBOUNDED PRECEDING) - body_bytes AS bytes_before
  FROM (SELECT log_id, offset, ifNull(length(value), 0) AS body_bytes FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND (log_id, offset) > ({after_log_id:String}, {after_offset:UInt64}) ORDER BY log_id, offset LIMIT {limit:UInt32})
) WHERE bytes_before < 16777216)
ORDER BY log_id, offset

-- after_log_id = 'log:1'
-- after_offset = 41
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
