SELECT session_id, log_id, offset, kind, turn_index, nullIf(tool_name, '') AS tool_name, tool_call_id,
  substringUTF8(events.content, 1, {chars:UInt32}) AS of_content,
  substringUTF8(events.thinking, 1, {chars:UInt32}) AS of_thinking
FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} AND ((hasAllTokens(content, {value_1:String}) OR hasAllTokens(thinking, {value_1:String})) OR (hasAllTokens(content, {value_2:String}) OR hasAllTokens(thinking, {value_2:String}))) WHERE counted AND ((hasAllTokens(content, {value_1:String}) OR hasAllTokens(thinking, {value_1:String})) OR (hasPhrase(content, {value_2:String}) OR hasPhrase(thinking, {value_2:String})))
ORDER BY session_id, log_id, offset LIMIT 3 BY session_id

-- chars = 20000
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_ids = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_1 = 'word'
-- value_2 = 'two words'
