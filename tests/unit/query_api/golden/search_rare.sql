SELECT session_id, newest_first, toString(newest_first) AS sort_key
FROM sessions WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false)) AND (mapContains(labels, {value_1:String}) AND has({value_2:Array(String)}, labels[{value_1:String}])) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd) > {value_3:Decimal(38, 18)}, false) AND NOT (imported) AND (has(tools, {value_4:String}) OR has(flags, {value_5:String})) AND session_id IN (SELECT session_id FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (hasAllTokens(content, {value_6:String}) OR hasAllTokens(thinking, {value_6:String})) WHERE counted) AND session_id IN (SELECT session_id FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (hasAllTokens(content, {value_9:String}) OR hasAllTokens(thinking, {value_9:String})) WHERE counted) AND session_id IN (SELECT session_id FROM events PREWHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (hasAnyTokens(content, {value_10:Array(String)}) OR hasAnyTokens(thinking, {value_11:Array(String)})) WHERE counted)
ORDER BY newest_first, session_id
LIMIT {limit:UInt32}

-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('a', 'b')
-- value_1 = 'env'
-- value_10 = WordsBegun(body='content', beginning='begun')
-- value_11 = WordsBegun(body='thinking', beginning='begun')
-- value_2 = ('prod',)
-- value_3 = '0.5'
-- value_4 = 'get_order'
-- value_5 = 'over_limit'
-- value_6 = 'word'
-- value_9 = 'two words'
