SELECT session_id, org_id, agent_id, owner_team_id, started_at
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND status IN ('RUNNING', 'PENDING_APPROVAL') AND NOT imported AND agent_id = {agent_id:String} AND labels[{label_0:String}] = {label_value_0:String}
ORDER BY started_at, session_id LIMIT 10000

-- agent_id = 'billing'
-- label_0 = 'case'
-- label_value_0 = 'refund'
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
