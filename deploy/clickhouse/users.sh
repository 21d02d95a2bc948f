#!/bin/sh
# Run once by the image of ClickHouse at its first start: the roles of the design and one user for each.
# What a role may do on the tables is granted by `procurator setup` (migrations); passwords come from the environment.
set -eu
for role in writer reader finops purger; do
    upper=$(echo "$role" | tr '[:lower:]' '[:upper:]')
    eval "password=\${PROCURATOR_${upper}_PASSWORD:?is not set: see deploy/.env.example}"
    digest=$(printf '%s' "$password" | sha256sum | cut -d ' ' -f 1)
    clickhouse-client --user "$CLICKHOUSE_USER" --password "$CLICKHOUSE_PASSWORD" --multiquery --query "
        CREATE ROLE IF NOT EXISTS procurator_$role;
        CREATE USER IF NOT EXISTS $role IDENTIFIED WITH sha256_hash BY '$digest' DEFAULT ROLE procurator_$role;
        GRANT procurator_$role TO $role;"
done
