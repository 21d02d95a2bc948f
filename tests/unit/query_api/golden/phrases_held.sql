SELECT session_id, [max(ifNull((hasPhrase(content, {value_0:String}) OR hasPhrase(thinking, {value_1:String})), 0)), max(ifNull((hasPhrase(content, {value_2:String}) OR hasPhrase(thinking, {value_3:String})), 0))] AS held
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id IN {value_4:Array(UUID)} AND counted AND ((hasAllTokens(content, {value_5:String}) OR hasAllTokens(thinking, {value_6:String})) OR (hasAllTokens(content, {value_7:String}) OR hasAllTokens(thinking, {value_8:String})))
GROUP BY session_id

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- value_0 = 'two words'
-- value_1 = 'two words'
-- value_2 = 'not these'
-- value_3 = 'not these'
-- value_4 = ('0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d',)
-- value_5 = 'two words'
-- value_6 = 'two words'
-- value_7 = 'not these'
-- value_8 = 'not these'
