"""SORT and SORT_RO: the elements of a list, set or sorted set by their own value, or by that of other keys.

    t_sort.pyx          words, elements, their order, the result
    t_sort_pattern.pyx  BY and GET: the values of other keys

Elements are borrowed from the collection, one element_t each. Each gets a weight, itself or what BY finds: a number, or
with ALPHA a text, which is borrowed, too. What BY does not find weighs 0, or less than any text. A BY without a "*"
says that nothing is sorted: a list and a sorted set are in their own order then, of which only the part is read that
LIMIT leaves; a set that is to be stored has none, and is sorted as texts. The result is the elements, or what each GET
finds for each: a reply, or a list.

Order. Numbers, and where they are equal the elements' bytes; or texts as the C locale compares them: up to a NUL, but
whole where the result is stored. Different elements of equal texts stay in the order of the collection; a table has
none that means anything, so there it is the order of their bytes. Where Valkey sorts only a part, with BY and a LIMIT,
equal ones of a list or a small set come as it gives them (ds/partsort.pxd).

Nothing that is borrowed changes meanwhile: the only writes are the ends of other keys whose time is over. Blocks of a
list that had to be uncompressed are kept until the end.

A result that is stored is propagated in the client's words. If something was met whose time is over, but which is still
there for who executes the command again (a field, a member, or a key that nobody may end now), it is propagated as
what was stored.
"""

from cachefleet_server.core.engine cimport engine_t

cdef int register_sort(engine_t* e) except -1
