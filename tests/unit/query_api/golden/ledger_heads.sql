SELECT log_id, max(head) AS next_offset FROM (
  SELECT log_id, max(next_offset) AS head FROM ledger_heads WHERE true AND log_id IN {logs:Array(String)} GROUP BY log_id
  UNION ALL
  SELECT log_id, max(offset) + 1 AS head FROM events WHERE true AND log_id = {log_0:String} AND offset >= {from_0:UInt64} GROUP BY log_id
  UNION ALL
  SELECT log_id, max(offset) + 1 AS head FROM events WHERE true AND log_id = {log_1:String} AND offset >= {from_1:UInt64} GROUP BY log_id
) GROUP BY log_id

-- from_0 = 0
-- from_1 = 41
-- log_0 = 'log:0'
-- log_1 = 'log:1'
-- logs = ['log:0', 'log:1']
