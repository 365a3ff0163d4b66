"""Elements that go from one list to another, several lists, and clients that wait for elements."""

from cachefleet_server.core.engine cimport engine_t

cdef int register_list_move(engine_t* e) except -1
