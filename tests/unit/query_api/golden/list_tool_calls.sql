WITH (SELECT (min(broker_time), max(broker_time)) FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID}) AS span
SELECT tool_call_id,
  anyIf(events.occurred_at, kind = 'ToolCallStarted') AS started_at,
  anyIf(events.occurred_at, kind = 'ToolCallCompleted') AS completed_at,
  nullIf(anyIf(events.status, kind = 'ToolCallCompleted'), '') AS status,
  any(events.error_message) AS error_message,
  any(events.latency_ms) AS latency_ms,
  any(events.turn_index) AS turn_index,
  arraySort(groupUniqArrayArray(events.estimated)) AS estimated,
  sum(ifNull(length(events.content), 0)) AS body_bytes,
  log_id,
  min(events.offset) AS offset,
  any(events.tool_name) AS tool_name,
  any(events.mcp_server_id) AS mcp_server_id,
  anyIf(events.content, kind = 'ToolCallStarted') AS input,
  anyIf(events.content, kind = 'ToolCallCompleted') AS output,
  max(false) AS truncated,
  any(events.timeout_ms) AS timeout_ms
FROM (SELECT *, row_number() OVER (PARTITION BY log_id, tool_call_id, kind ORDER BY offset) AS occurrence FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind IN ('ToolCallStarted', 'ToolCallCompleted') AND (log_id, offset) IN (SELECT log_id, arrayJoin(offsets) AS offset FROM (
  SELECT *, sum(body_bytes) OVER (ORDER BY log_id, place ROWS UNBOUNDED PRECEDING) - body_bytes AS bytes_before
  FROM (SELECT log_id, min(offset) AS place, groupArray(offset) AS offsets, sum(bytes) AS body_bytes FROM (
    SELECT log_id, offset, tool_call_id, ifNull(length(content), 0) AS bytes, row_number() OVER (PARTITION BY log_id, tool_call_id, kind ORDER BY offset) AS occurrence
    FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind IN ('ToolCallStarted', 'ToolCallCompleted')
  ) GROUP BY log_id, tool_call_id, occurrence HAVING (log_id, place) > ({after_log_id:String}, {after_offset:UInt64}) ORDER BY log_id, place LIMIT {limit:UInt32})
) WHERE bytes_before < 16777216)) AS events
GROUP BY log_id, tool_call_id, occurrence
ORDER BY log_id, offset

-- after_log_id = 'log:1'
-- after_offset = 41
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
