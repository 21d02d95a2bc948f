SELECT session_id, newest_first, toString(ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd), 2305843009213693952)) AS sort_key
FROM sessions WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false)) AND (mapContains(labels, {value_1:String}) AND has({value_2:Array(String)}, labels[{value_1:String}])) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd) > {value_3:Decimal(38, 18)}, false) AND NOT (imported) AND (has(tools, {value_4:String}) OR has(flags, {value_5:String})) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd), 2305843009213693952) >= {after_key:Decimal(38, 18)} AND (ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd), 2305843009213693952), session_id) > ({after_key:Decimal(38, 18)}, {after_session_id:UUID})
ORDER BY ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd), 2305843009213693952), session_id
LIMIT {limit:UInt32}

-- after_key = '0.5'
-- after_session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('a', 'b')
-- value_1 = 'env'
-- value_2 = ('prod',)
-- value_3 = '0.5'
-- value_4 = 'get_order'
-- value_5 = 'over_limit'
