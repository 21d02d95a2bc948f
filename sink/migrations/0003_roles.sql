-- requires: access_control
-- Roles of the design, on the tables of this database (`ON *`). The writer cannot alter or delete; the embedded endpoint enforces the same by itself.

CREATE ROLE IF NOT EXISTS procurator_admin, procurator_writer, procurator_reader, procurator_finops, procurator_purger;
GRANT ALL ON * TO procurator_admin;
GRANT SELECT, INSERT ON * TO procurator_writer;
GRANT SELECT ON * TO procurator_reader;
GRANT SELECT ON finops.* TO procurator_finops;
GRANT SELECT, ALTER DELETE, ALTER UPDATE ON * TO procurator_purger;
