"""What `procurator bench` runs, with the peers it is compared to."""
