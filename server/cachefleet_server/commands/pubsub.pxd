"""Channels, patterns and shard channels: SUBSCRIBE and its kind, PUBLISH, SPUBLISH, PUBSUB."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_pubsub(engine_t* e) except -1  # adds this family's rows to the engine's command table
