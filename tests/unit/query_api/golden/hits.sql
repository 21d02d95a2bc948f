SELECT session_id, log_id, offset, kind, turn_index, nullIf(tool_name, '') AS tool_name, tool_call_id,
  substringUTF8(events.content, 1, {chars:UInt32}) AS of_content,
  substringUTF8(events.thinking, 1, {chars:UInt32}) AS of_thinking
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {value_1:Array(UUID)} AND counted AND ((hasAllTokens(content, {value_2:String}) OR hasAllTokens(thinking, {value_3:String})) OR (hasPhrase(content, {value_4:String}) OR hasPhrase(thinking, {value_5:String})))
ORDER BY session_id, log_id, offset LIMIT 3 BY session_id

-- chars = 20000
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_1 = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_2 = 'word'
-- value_3 = 'word'
-- value_4 = 'two words'
-- value_5 = 'two words'
