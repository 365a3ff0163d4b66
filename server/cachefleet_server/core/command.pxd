"""The command table: how rows are registered and found.

A row is one call of `command_row` at the end of its family's file, in a `register_<family>(engine)`
function that the facade calls once an engine. Everything that COMMAND INFO/DOCS/GETKEYS says is made from
the row, so adding a command touches one file. Python rows (admin/*.py) register through the facade with the
same fields.

    command_row(e, get_command, "get", 2, "readonly fast", "read string", "1 RO access",
                "string 1.0.0 O(1)", "Returns the string value of a key.", "key:key")

    name      lower case; "config|get" is a subcommand of the container row "config"
    flags     words of COMMAND INFO without the categories implied by them
    acl       ACL categories beyond those implied by flags (write, read, admin, dangerous, fast, slow ...)
    keys      key specs: "1 RO access", "1:-1:2 OW update", "numkeys:1 RO access"; "" = none
    about     "<group> <since> <complexity>[; deprecated ...][; tips ...][; history ...]"
    syntax    arguments: name:type items, [optional], name(one | of), name{block}, item... for repeats, TOKEN words
              in capitals
The grammar of the three texts is in command_spec.py.
"""

from cachefleet_server.core.engine cimport command_fn, command_t, engine_t

cdef command_t* command_row(
    engine_t* e, command_fn fn, str name, int arity, str flags, str acl, str keys, str about, str summary, str syntax,
) except NULL
cdef command_t* command_python_row(engine_t* e, object callback, object spec, bint may_wait) except NULL
    # may_wait: it may return an awaitable. Such a row can be neither in a transaction nor in a script.
cdef command_t* command_find(engine_t* e, const char* name, size_t n) noexcept nogil  # any case; NULL if unknown
cdef command_t* command_find_sub(command_t* container, const char* name, size_t n) noexcept nogil
cdef void commands_free(engine_t* e) noexcept
