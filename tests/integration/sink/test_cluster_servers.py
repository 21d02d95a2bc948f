"""What runs on a ClickHouse cluster: read by the real engine here, run on servers in containers where Docker is."""

from contextlib import closing

from procurator.clickhouse import ClickHouse
from procurator.deploy.embedded.stack import Stack
from procurator.sink.migrate import script


def test_the_engine_can_read_every_statement(broker_stack: Stack) -> None:
    with closing(ClickHouse(broker_stack.clickhouse_url, "admin", broker_stack.admin_key, "default")) as clickhouse:
        for statement in script("ledger", "main"):
            ((formatted,),) = clickhouse.rows("SELECT formatQuery({sql:String})", {"sql": statement})
            assert "ON CLUSTER main" in formatted or formatted.startswith("INSERT")
