"""Sessions as they happen: the ledger's past and Kafka's present as one stream, without a gap or a repeat.

`feed` reads Kafka for the whole process, `hub` hands what it read to listeners, `follow` takes one listener from the
ledger to the live records, `streams` turns what it gets into Server-Sent Events.
"""
