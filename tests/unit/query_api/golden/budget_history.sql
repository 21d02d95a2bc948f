SELECT definition_version, session_id, period_end,
  if(isNull(period_end), NULL, budget_status.period_start) AS period_start,
  `limit`, spent, reserved, unpriced_tokens, crossed, exhausted, updated_at
FROM budget_status FINAL WHERE org_id = {scope_org_id:String} AND budget_id = {budget_id:String}
ORDER BY budget_status.updated_at DESC LIMIT 500

-- budget_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
-- scope_org_id = 'acme'
