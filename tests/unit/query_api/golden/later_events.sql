SELECT log_id, offset, broker_time, base64Encode(events.value) AS value, cost_usd, price_version
FROM events WHERE org_id = {scope_org_id:String} AND owner_team_id IN {scope_team_ids:Array(String)} AND session_id = {session_id:UUID} AND NOT hasAny(flags, ['rejected', 'misplaced']) AND log_id = {log_id:String} AND offset > {after_offset:Int64} AND broker_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
ORDER BY log_id, offset LIMIT {limit:UInt32}

-- after_offset = 41
-- from_us = 1789996400000000
-- limit = 2000
-- log_id = 'log:1'
-- scope_org_id = 'acme'
-- scope_team_ids = ('payments',)
-- session_id = '0f9d6a8e-52d1-4a8e-9c1b-3a7d1f0b2c4d'
