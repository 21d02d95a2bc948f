SELECT multiIf(grouping(status) = 0, 'status', grouping(agent_id) = 0, 'agent', 'owner_team') AS facet,
  multiIf(facet = 'status', status, facet = 'agent', agent_id, owner_team_id) AS value, count() AS found
FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))
GROUP BY GROUPING SETS ((status), (agent_id), (owner_team_id))
ORDER BY facet, found DESC, value LIMIT 50 BY facet

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
