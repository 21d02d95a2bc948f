"""What the pages read beside the queries of the API."""
