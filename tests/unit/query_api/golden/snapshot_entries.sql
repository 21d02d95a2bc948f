SELECT log_id, offset, leaf_index, lower(hex(events.leaf_hash)) AS leaf_hash, broker_time, base64Encode(events.key) AS key, base64Encode(events.value) AS value, toString(events.event_id) AS event_id, toString(events.session_id) AS session_id, flags, emitter_id, sequence, occurred_at, imported, org_id, agent_id, owner_team_id, estimated, kind, turn_index, role, content, thinking, tool_call_id, model_call_id, approval_id, tool_name, mcp_server_id, provider, model, status, error_message, reason, latency_ms, first_token_ms, timeout_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_usd, price_version, reported_cost_usd
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND events.session_id IN ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d') AND has({head_logs:Array(String)}, log_id) AND offset < arrayElement({head_offsets:Array(UInt64)}, indexOf({head_logs:Array(String)}, log_id))
ORDER BY events.session_id, log_id, offset

-- head_logs = ['log:0', 'log:1']
-- head_offsets = [7, 42]
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
