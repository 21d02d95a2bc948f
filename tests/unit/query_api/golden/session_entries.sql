SELECT count() AS entries FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID}

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
