SELECT DISTINCT session_id, 0 AS phrase FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {value_0:Array(UUID)} AND counted AND ((hasPhrase(content, {value_1:String}) OR hasPhrase(thinking, {value_2:String})))
UNION ALL
SELECT DISTINCT session_id, 1 AS phrase FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {value_5:Array(UUID)} AND counted AND ((hasPhrase(content, {value_6:String}) OR hasPhrase(thinking, {value_7:String})))

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_1 = 'two words'
-- value_2 = 'two words'
-- value_5 = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_6 = 'not these'
-- value_7 = 'not these'
