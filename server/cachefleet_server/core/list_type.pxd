"""The row of lists; contracts in core/types.pxd, the value in core/list_value.pxd.

Saved as QUICKLIST_2: a node is a block of the sequence, or the whole of an embedded list. A save has a share of the
sequence, so it is of one point in time and costs a writer what a copy of what it changes costs. Read are all that ever
were: a list of strings, a ziplist, nodes of ziplists, nodes of listpacks or single elements.
"""

from cachefleet_server.core.engine cimport engine_t

cdef void register_list_type(engine_t* e) noexcept nogil
