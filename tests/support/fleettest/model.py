"""The data model in plain Python: what each command replies and leaves behind, written from its documentation.

    model = Model(databases=3)
    model.run(0, b"SET", b"k", b"v")        the reply as Engine.execute gives it

    model_base      values, databases, time, commands that are of no type
    model_strings   strings and numbers
    model_bitmaps   strings as bitmaps
    model_lists     lists
    model_members   members that expire, of the next three
    model_hashes    hashes
    model_sets      sets; a reply in no order is a frozenset
    model_zsets     sorted sets
    model_sort      SORT of lists, sets and sorted sets
    model_streams   streams and their groups
    A type is a file model_<type>.py with a class whose methods are commands, and one base class more of Model.

It shares nothing with the server's code. Replies: bytes, int, None, list, `OK`; an error is `Error(text)`, of which
only the first word is compared, since texts are compared with the real server elsewhere (tests/differential).
"""

from fleettest.model_base import Base, Failure, Value
from fleettest.model_bitmaps import Bitmaps
from fleettest.model_hashes import Hashes
from fleettest.model_lists import Lists
from fleettest.model_sets import Sets
from fleettest.model_sort import Sorts
from fleettest.model_streams import Streams
from fleettest.model_zsets import Zsets

__all__ = ["Failure", "Model", "Value"]


class Model(Bitmaps, Lists, Hashes, Sets, Zsets, Sorts, Streams, Base):
    """All types together."""
