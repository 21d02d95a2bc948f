SELECT session_id, org_id, agent_id, owner_team_id, started_at
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND status IN ('RUNNING', 'PENDING_APPROVAL') AND NOT imported AND (ifNull(agent_id IN {value_0:Array(String)}, false)) AND (mapContains(labels, {value_1:String}) AND has({value_2:Array(String)}, labels[{value_1:String}])) AND ifNull(if(unpriced_calls > 0 AND priced_calls = 0, NULL, cost_usd) > {value_3:Decimal(38, 18)}, false)
ORDER BY started_at, session_id LIMIT 10000

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
-- value_1 = 'case'
-- value_2 = ('refund',)
-- value_3 = '5'
