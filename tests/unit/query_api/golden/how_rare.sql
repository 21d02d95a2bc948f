SELECT 0 AS text, count() AS records FROM (SELECT 1 FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (hasAllTokens(content, {value_0:String}) OR hasAllTokens(thinking, {value_0:String})) LIMIT 20000)
UNION ALL
SELECT 1 AS text, count() AS records FROM (SELECT 1 FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND (hasAllTokens(content, {value_3:String}) OR hasAllTokens(thinking, {value_3:String})) LIMIT 20000)

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = 'word'
-- value_3 = 'two words'
