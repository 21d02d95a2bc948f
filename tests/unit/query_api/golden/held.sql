SELECT DISTINCT session_id, 0 AS term FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} AND counted AND kind = 'ToolCallCompleted' AND tool_name = {value_1:String} AND status IN {value_2:Array(String)}
UNION ALL
SELECT DISTINCT session_id, 1 AS term FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} AND (hasAllTokens(content, {value_5:String}) OR hasAllTokens(thinking, {value_5:String})) WHERE counted
UNION ALL
SELECT DISTINCT session_id, 2 AS term FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} AND (hasAllTokens(content, {value_6:String}) OR hasAllTokens(thinking, {value_6:String})) WHERE counted AND (hasPhrase(content, {value_6:String}) OR hasPhrase(thinking, {value_6:String}))
UNION ALL
SELECT DISTINCT session_id, 3 AS term FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {session_ids:Array(UUID)} AND (hasAllTokens(content, {value_7:String}) OR hasAllTokens(thinking, {value_7:String})) WHERE counted AND (hasPhrase(content, {value_7:String}) OR hasPhrase(thinking, {value_7:String}))

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_ids = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_1 = 'get_order'
-- value_2 = ('ERROR',)
-- value_5 = 'word'
-- value_6 = 'two words'
-- value_7 = 'not these'
