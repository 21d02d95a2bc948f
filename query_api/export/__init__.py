"""Sessions out of the ledger: one as a file that proves itself, many as a job that writes files."""
