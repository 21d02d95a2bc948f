"""The signer: recomputes every log's tree from Kafka, records the heads in the control log and signs its head."""
