-- What FinOps reads: money and usage, no content. A view is never changed: what differs gets the next version's name.
-- Each runs with the rights of who made it, so that the role finops needs nothing beyond this database.
-- Days are UTC days of the broker's time: the time that prices go by, and what the ledger is partitioned by.

CREATE DATABASE IF NOT EXISTS finops;

CREATE VIEW IF NOT EXISTS finops.spend_by_day_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(broker_time) AS day,
    org_id,
    owner_team_id,
    agent_id,
    provider,
    model,
    imported,
    count() AS model_calls,
    sum(events.input_tokens) AS input_tokens,
    sum(events.cached_input_tokens) AS cached_input_tokens,
    sum(events.cache_write_tokens) AS cache_write_tokens,
    sum(events.output_tokens) AS output_tokens,
    sum(events.reasoning_tokens) AS reasoning_tokens,
    sum(events.cost_usd) AS cost_usd,
    sum(events.reported_cost_usd) AS reported_cost_usd,
    countIf(isNull(events.cost_usd)) AS unpriced_calls,
    countIf(notEmpty(events.estimated)) AS estimated_calls,
    sumIf(events.cost_usd, notEmpty(events.estimated)) AS estimated_cost_usd
FROM events
WHERE kind = 'ModelCallCompleted' AND empty(flags)
GROUP BY day, org_id, owner_team_id, agent_id, provider, model, imported;

CREATE VIEW IF NOT EXISTS finops.unpriced_usage_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(broker_time) AS day,
    org_id,
    owner_team_id,
    agent_id,
    provider,
    model,
    count() AS model_calls,
    sum(input_tokens + cached_input_tokens + cache_write_tokens + output_tokens + reasoning_tokens) AS tokens
FROM events
WHERE kind = 'ModelCallCompleted' AND empty(flags) AND isNull(cost_usd)
GROUP BY day, org_id, owner_team_id, agent_id, provider, model;

CREATE VIEW IF NOT EXISTS finops.tool_usage_by_day_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(broker_time) AS day,
    org_id,
    owner_team_id,
    agent_id,
    tool_name,
    mcp_server_id,
    count() AS tool_calls,
    countIf(status = 'SUCCESS') AS succeeded,
    countIf(status = 'ERROR') AS failed,
    countIf(status = 'TIMEOUT') AS timed_out,
    countIf(status = 'CANCELLED') AS cancelled,
    sum(events.latency_ms) AS latency_ms
FROM events
WHERE kind = 'ToolCallCompleted' AND empty(flags)
GROUP BY day, org_id, owner_team_id, agent_id, tool_name, mcp_server_id;

CREATE VIEW IF NOT EXISTS finops.session_costs_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    session_id, org_id, owner_team_id, team_id, agent_id, agent_name, user_id, initiator, origin,
    schedule_id, workflow_id, workflow_run_id, parent_session_id, labels, imported,
    status, started_at, completed_at, last_activity_at,
    turns, tool_calls, tool_errors, model_calls, models, tools, mcp_servers,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    cost_usd, reported_cost_usd, priced_calls, unpriced_calls, unpriced_tokens, estimated
FROM sessions FINAL;

CREATE VIEW IF NOT EXISTS finops.spend_by_user_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(ifNull(started_at, last_activity_at)) AS day,
    org_id,
    ifNull(user_id, '') AS user_id,
    count() AS sessions,
    sum(sessions.model_calls) AS model_calls,
    sum(sessions.cost_usd) AS cost_usd,
    sum(sessions.unpriced_calls) AS unpriced_calls,
    countIf(notEmpty(sessions.estimated)) AS estimated_sessions
FROM sessions FINAL
GROUP BY day, org_id, user_id;

CREATE VIEW IF NOT EXISTS finops.spend_by_label_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(ifNull(started_at, last_activity_at)) AS day,
    org_id,
    pair.1 AS label,
    pair.2 AS label_value,
    count() AS sessions,
    sum(sessions.model_calls) AS model_calls,
    sum(sessions.cost_usd) AS cost_usd,
    sum(sessions.unpriced_calls) AS unpriced_calls
FROM sessions FINAL
ARRAY JOIN arrayZip(mapKeys(labels), mapValues(labels)) AS pair
GROUP BY day, org_id, label, label_value;

CREATE VIEW IF NOT EXISTS finops.spend_by_tool_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    toDate(ifNull(started_at, last_activity_at)) AS day,
    org_id,
    tool_name,
    count() AS sessions,
    sum(sessions.cost_usd) AS cost_usd_of_sessions
FROM sessions FINAL
ARRAY JOIN tools AS tool_name
GROUP BY day, org_id, tool_name;

CREATE VIEW IF NOT EXISTS finops.budget_history_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    budget_id, org_id, owner_team_id, session_id, definition_version, period_start, period_end, unit,
    budget_status.limit AS budget_limit, spent, reserved, unpriced_tokens, crossed, exhausted, updated_at
FROM budget_status FINAL;

CREATE VIEW IF NOT EXISTS finops.budget_status_v1 DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    budget_id,
    org_id,
    session_id,
    period_start,
    argMax(b.period_end, b.updated_at) AS period_end,
    argMax(b.unit, b.updated_at) AS unit,
    argMax(b.limit, b.updated_at) AS budget_limit,
    argMax(b.spent, b.updated_at) AS spent,
    argMax(b.reserved, b.updated_at) AS reserved,
    argMax(b.unpriced_tokens, b.updated_at) AS unpriced_tokens,
    argMax(b.exhausted, b.updated_at) AS exhausted,
    max(b.updated_at) AS as_of
FROM budget_status AS b
GROUP BY budget_id, org_id, session_id, period_start;
