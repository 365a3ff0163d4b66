"""The server's exceptions.

    CachefleetError
    +-- ClientGone        a view of a client was used after the client had gone
    +-- CommandError      becomes an error reply; its text starts with a prefix ("ERR ...")
    +-- ConfigError       a parameter is wrong: file, line, text
    +-- DataError         a data file is damaged or foreign; the text says what to do
    +-- StartupError      the server cannot start (port in use, folder locked ...)
"""


class CachefleetError(Exception):
    """Base of all errors that this server raises on purpose."""


class ClientGone(CachefleetError):
    """The connection that a view showed is closed and freed."""


class CommandError(CachefleetError):
    """Replied to the client as it is."""


class ConfigError(CachefleetError):
    """A configuration file, option or CONFIG SET that cannot be accepted."""


class DataError(CachefleetError):
    """RDB or AOF content that cannot be loaded."""


class StartupError(CachefleetError):
    """A condition that stops the start."""
