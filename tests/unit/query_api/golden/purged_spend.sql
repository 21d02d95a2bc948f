SELECT sum(p.model_calls) AS model_calls, toString(sum(p.cost_usd)) AS cost_usd
FROM (SELECT * FROM purged_spend WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))) AS p

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
