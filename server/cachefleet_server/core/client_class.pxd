"""What kind of client it is: its class (normal, pubsub, replica), with that class's output limits, and whether it
monitors. Each is changed in one place, which keeps the counts.
"""

from cachefleet_server.core.engine cimport client_t

cdef void client_set_class(client_t* c, int cls) noexcept nogil  # CLASS_*
cdef void client_set_monitor(client_t* c, bint on) noexcept nogil
cdef void client_check_output_limit(client_t* c, size_t more) noexcept nogil
    # Disconnects it if its output, and `more` bytes that will follow, exceed the limits of its class.
