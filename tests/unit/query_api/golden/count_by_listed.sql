SELECT * FROM (SELECT 'model' AS facet, toString(listed) AS value, count() AS found FROM (
  SELECT arrayJoin(models) AS listed FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))
) GROUP BY listed ORDER BY found DESC, value LIMIT 50)
UNION ALL
SELECT * FROM (SELECT 'tool' AS facet, toString(listed) AS value, count() AS found FROM (
  SELECT arrayJoin(tools) AS listed FROM sessions FINAL WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (ifNull(agent_id IN {value_0:Array(String)}, false))
) GROUP BY listed ORDER BY found DESC, value LIMIT 50)

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('billing',)
