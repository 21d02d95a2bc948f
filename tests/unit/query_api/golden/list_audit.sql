SELECT log_id, offset, broker_time, event_id, emitter_id, sequence, occurred_at, org_id, principal, action, outcome, resource, owner_team_id, purpose, filter, item_count, request_id, remote_address, details
FROM audit WHERE org_id = {scope_org_id:String} AND empty(flags) AND principal = {principal:String} AND broker_time >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC') AND broker_time <= fromUnixTimestamp64Micro({after_us:Int64}, 'UTC') AND (broker_time, log_id, offset) < (fromUnixTimestamp64Micro({after_us:Int64}, 'UTC'), {after_log_id:String}, {after_offset:UInt64})
ORDER BY broker_time DESC, log_id DESC, offset DESC
LIMIT {limit:UInt32}

-- after_log_id = 'log:1'
-- after_offset = 41
-- after_us = 1795363680000000
-- limit = 51
-- principal = 'key:a'
-- scope_org_id = 'acme'
-- since_us = 1795363680000000
