"""Every error that auditpipe raises on purpose.

    AuditpipeError
     +- UsageError                what the caller gave can't be used                      exit 2
     |   +- SettingsError         a setting is missing, doubled or unreadable
     |   +- BadFilter             a filter that can't mean anything
     |   +- CatalogueError        an action's definition is wrong
     |   +- InvalidEvent          an event that emit refuses; names the field
     |       +- UnknownAction     not in the catalogue; names the nearest
     |       +- LimitExceeded     longer, deeper or larger than an event may be
     +- Finding                   the thing looked at is not as it should be              exit 1
     |   +- Conflict              something foreign stands where ours should go
     +- NotFinished               not done, and nothing is broken by it; try again        exit 3
     |   +- OutOfReach            no answer, or one that only an outage gives
     |   +- SpoolError            the spool's folder can't take events
     |       +- SpoolFull         its limit is reached
     +- NotAllowed                wrong credentials, or a role that may not               exit 4
     +- NoSuchEvent               no event has this id, for this reader                   exit 5

Foreign exceptions stop at the module that calls the foreign code: what leaves it is one of these, with a
message that says what was expected, what came and what to do.
"""


class AuditpipeError(Exception):
    """Base of the tree. `exit_code` is what the command line ends with when this reaches it."""

    exit_code = 70


class UsageError(AuditpipeError):
    """What the caller gave can't be used."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is missing, contradicts another or can't be read."""


class BadFilter(UsageError):
    """A filter that can't mean anything."""


class CatalogueError(UsageError):
    """The definition of an action is wrong."""


class InvalidEvent(UsageError):
    """An event that emit refuses. `field` is the dotted path of what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class UnknownAction(InvalidEvent):
    """The action is not in the catalogue."""


class LimitExceeded(InvalidEvent):
    """A part of the event is longer, deeper or larger than it may be."""


class Finding(AuditpipeError):
    """The thing looked at is not as it should be."""

    exit_code = 1


class Conflict(Finding):
    """Something that is not ours stands where ours should go. Nothing was changed."""


class NotFinished(AuditpipeError):
    """Not done yet, and nothing is broken by that: try again."""

    exit_code = 3


class OutOfReach(NotFinished):
    """No answer, or one that only an outage gives."""


class SpoolError(NotFinished):
    """The spool's folder can't take events."""


class SpoolFull(SpoolError):
    """The spool has reached its limit: events wait there for a shipper."""


class NotAllowed(AuditpipeError):
    """Wrong credentials, or a role that may not do this."""

    exit_code = 4


class NoSuchEvent(AuditpipeError):
    """No event has this id, or none that this reader may see."""

    exit_code = 5
