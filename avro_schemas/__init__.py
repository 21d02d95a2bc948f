"""The Avro schemas of every topic, and their codec."""
