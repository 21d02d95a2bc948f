SELECT log_id, offset, kind, model_call_id, cost_usd, nullIf(price_version, '') AS price_version
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND counted AND kind IN ('ModelCallCompleted', 'CostCorrected')
ORDER BY log_id, offset

-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
