-- requires: access_control
-- Purges and erasures alter the tables of every server of a cluster (ALTER … ON CLUSTER). A single server has none to reach.

GRANT CLUSTER ON *.* TO procurator_purger;
