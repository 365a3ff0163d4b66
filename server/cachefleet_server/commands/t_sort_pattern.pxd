"""Patterns of SORT's BY and GET: the values that other keys have for an element.

A pattern names a key, by an element in place of its first "*", and perhaps a field of the hash that is there:

    weight:*            the string at weight:<element>
    user:*->age         the field "age" of the hash at user:<element>
    #                   the element itself
    anything else       nothing

What is missing, expired, hidden (commands/t_members.pxd) or of another type is no value. A value is borrowed: until the
command changes something, nothing does but the ends of other keys whose time is over.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.engine cimport arg_t, client_t
from cachefleet_server.core.entry cimport entry_t
from cachefleet_server.ds.buf cimport buf_t
from cachefleet_server.ds.listpack cimport lp_item_t

cdef struct pattern_t:  # borrows a word of the request
    bint whole  # "#"
    const char* star  # NULL: there is none
    const char* begin  # of the key's name
    const char* end  # behind it
    const char* field  # up to field_end; NULL: a string
    const char* field_end

cdef struct finder_t:
    client_t* client
    int64_t clock  # of members
    bint stores  # what is found: who executes the command again must find the same ...
    bint met_hidden  # ... but something was met whose time is over, which is still there for them
    buf_t name  # of the key that is looked up

cdef struct value_t:
    lp_item_t item
    const entry_t* string  # whose value it is; NULL: a field, or the element

cdef void pattern_read(pattern_t* p, const arg_t* word) noexcept nogil
cdef void finder_begin(finder_t* f, client_t* c) noexcept nogil
cdef void finder_end(finder_t* f) noexcept nogil
cdef const entry_t* find_key(finder_t* f, arg_t* key) noexcept nogil  # lookup_read
cdef bint find_value(finder_t* f, const pattern_t* p, const lp_item_t* element, value_t* out) noexcept nogil
    # False: there is none.
cdef void reply_value(client_t* c, const value_t* value) noexcept nogil
