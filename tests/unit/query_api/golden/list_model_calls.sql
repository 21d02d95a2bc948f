WITH (SELECT (min(broker_time), max(broker_time)) FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID}) AS span
SELECT model_call_id,
  anyIf(events.occurred_at, kind = 'ModelCallStarted') AS started_at,
  anyIf(events.occurred_at, kind = 'ModelCallCompleted') AS completed_at,
  nullIf(anyIf(events.status, kind = 'ModelCallCompleted'), '') AS status,
  any(events.error_message) AS error_message,
  any(events.latency_ms) AS latency_ms,
  any(events.turn_index) AS turn_index,
  arraySort(groupUniqArrayArray(events.estimated)) AS estimated,
  sum(ifNull(length(events.content), 0)) AS body_bytes,
  log_id,
  min(events.offset) AS offset,
  argMax(events.provider, (kind = 'ModelCallCompleted', events.offset)) AS provider,
  argMax(events.model, (kind = 'ModelCallCompleted', events.offset)) AS model,
  any(events.first_token_ms) AS first_token_ms,
  sum(events.input_tokens) AS input_tokens,
  sum(events.cached_input_tokens) AS cached_input_tokens,
  sum(events.cache_write_tokens) AS cache_write_tokens,
  sum(events.output_tokens) AS output_tokens,
  sum(events.reasoning_tokens) AS reasoning_tokens,
  any(events.cost_usd) AS cost_usd,
  nullIf(max(events.price_version), '') AS price_version,
  any(events.reported_cost_usd) AS reported_cost_usd
FROM (SELECT *, row_number() OVER (PARTITION BY log_id, model_call_id, kind ORDER BY offset) AS occurrence FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind IN ('ModelCallStarted', 'ModelCallCompleted') AND (log_id, offset) IN (SELECT log_id, arrayJoin(offsets) AS offset FROM (
  SELECT *, sum(body_bytes) OVER (ORDER BY log_id, place ROWS UNBOUNDED PRECEDING) - body_bytes AS bytes_before
  FROM (SELECT log_id, min(offset) AS place, groupArray(offset) AS offsets, sum(bytes) AS body_bytes FROM (
    SELECT log_id, offset, model_call_id, ifNull(length(content), 0) AS bytes, row_number() OVER (PARTITION BY log_id, model_call_id, kind ORDER BY offset) AS occurrence
    FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind IN ('ModelCallStarted', 'ModelCallCompleted')
  ) GROUP BY log_id, model_call_id, occurrence HAVING (log_id, place) > ({after_log_id:String}, {after_offset:UInt64}) ORDER BY log_id, place LIMIT {limit:UInt32})
) WHERE bytes_before < 16777216)) AS events
GROUP BY log_id, model_call_id, occurrence
ORDER BY log_id, offset

-- after_log_id = 'log:1'
-- after_offset = 41
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
