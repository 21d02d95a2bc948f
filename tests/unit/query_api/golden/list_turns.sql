WITH (SELECT (min(broker_time), max(broker_time)) FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID}) AS span
SELECT turn.*, nullIf(calls.provider, '') AS provider, nullIf(calls.model, '') AS model,
  calls.input_tokens, calls.cached_input_tokens, calls.cache_write_tokens, calls.output_tokens, calls.reasoning_tokens,
  calls.model_calls, calls.unpriced_calls, calls.cost_usd,
  arrayDistinct(arrayConcat(turn.own, calls.estimated)) AS estimated
FROM (
  SELECT turn_index, log_id, offset, role, occurred_at AS timestamp, tool_call_id, model_call_id,
    events.content AS content, events.thinking AS thinking, false OR false AS truncated, estimated AS own, ifNull(length(events.content), 0) + ifNull(length(events.thinking), 0) AS body_bytes
  FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind = 'TurnRecorded' AND (log_id, offset) IN (SELECT log_id, offset FROM (
  SELECT *, sum(body_bytes) OVER (ORDER BY turn_index, log_id, offset ROWS UNBOUNDED PRECEDING) - body_bytes AS bytes_before
  FROM (SELECT turn_index, log_id, offset, ifNull(length(events.content), 0) + ifNull(length(events.thinking), 0) AS body_bytes FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind = 'TurnRecorded' AND (turn_index, log_id, offset) > ({after_turn_index:UInt32}, {after_log_id:String}, {after_offset:UInt64}) ORDER BY turn_index, log_id, offset LIMIT {limit:UInt32})
) WHERE bytes_before < 16777216)
) AS turn
LEFT JOIN (
  SELECT turn_index, count() AS model_calls,
    argMax(events.provider, (log_id, offset)) AS provider,
    argMax(events.model, (log_id, offset)) AS model,
    sum(events.input_tokens) AS input_tokens, sum(events.cached_input_tokens) AS cached_input_tokens, sum(events.cache_write_tokens) AS cache_write_tokens, sum(events.output_tokens) AS output_tokens, sum(events.reasoning_tokens) AS reasoning_tokens,
    sum(events.cost_usd) AS cost_usd, countIf(events.cost_usd IS NULL) AS unpriced_calls,
    groupUniqArrayArray(events.estimated) AS estimated
  FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND broker_time BETWEEN span.1 AND span.2 AND counted AND kind = 'ModelCallCompleted' AND turn_index IS NOT NULL
  GROUP BY turn_index
) AS calls ON calls.turn_index = turn.turn_index
ORDER BY turn.turn_index, turn.log_id, turn.offset

-- after_log_id = 'log:1'
-- after_offset = 41
-- after_turn_index = 7
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
