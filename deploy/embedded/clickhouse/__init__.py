"""The ClickHouse engine behind ClickHouse's HTTP protocol, for every ClickHouse client.

`python -m procurator.deploy.embedded.clickhouse --data-dir D --host H --port P --users FILE` is the server that
`procurator up` starts. Read `server` (HTTP), `runner` (one request), `engine` (chdb), `policy` (roles).
"""
