SELECT session_id, newest_first, toString(newest_first) AS sort_key
FROM sessions WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND newest_first >= {after_key:Int64} AND (newest_first, session_id) > ({after_key:Int64}, {after_session_id:UUID})
ORDER BY newest_first, session_id
LIMIT {limit:UInt32}

-- after_key = '1795363680000000'
-- after_session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
-- limit = 51
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
