"""What goes wrong between us and those who hold objects and servers. Everything else that is raised is a bug."""

from __future__ import annotations


class ExecutionError(Exception):
    """Somebody refused or did not answer. `str()` has the words.

    conflict    what we knew is out of date: again at once, with fresh facts
    final       nothing else can be done either (the API is away, or we may not write any more)
    """

    def __init__(self, words: str, *, conflict: bool = False, final: bool = False) -> None:
        super().__init__(words)
        self.conflict, self.final = conflict, final

    @property
    def for_good(self) -> bool:
        """The same request will be refused again: invalid, or forbidden."""
        return False


class Refused(ExecutionError):
    """A server or the API refused what was asked, for good: becomes a Refusal in the status, not a hot loop.

    `subject` is the parameter or field, `wish` the value as it may be shown.

    an object      (invalid, forbidden) target "Kind/name", subject "object", wish its applied hash; a Secret has none
    its name       (somebody else's object has it) target "Kind/name", subject "metadata.name", no wish
    ConfigSet      target the pod, subject the parameter, wish its value
    ResizeClaim    target "PersistentVolumeClaim/name", subject "storage.size", wish the size
    """

    def __init__(self, words: str, *, target: str, subject: str, wish: str) -> None:
        super().__init__(words)
        self.target, self.subject, self.wish = target, subject, wish
