import inspect
import pickle
import re
from typing import Any

import pytest

from headgate import exceptions
from headgate.core import errors

#: How each class that wants facts is made; all others take a message.
FACTS: dict[str, tuple[Any, ...]] = {
    "VersionMismatch": ("http://a:1", "0.9.0", "0.1.0", ("headgate.api.v0",)),
    "AlreadyExists": ("work pool", "gpu"),
    "DatabaseInUse": ("/tmp/x.db", 7),
    "EtagMismatch": ("deployment", "a/b", "1", "2"),
    "Internal": ("incident-1",),
    "InvalidArgument": ([errors.Violation("name", "It is empty.")],),
    "LeaseFenced": ("run-1", 1, 2),
    "NotFound": ("flow", "etl"),
    "PermissionDenied": ("/headgate.api.v1.FlowService/GetFlow",),
    "ProtocolViolation": ("The first frame must be Open.", "batch"),
    "RevisionCompacted": (3, 7),
    "SessionSuperseded": ("session-1",),
    "TerminationSignal": (15,),
    "Unsupported": ("watch",),
}
CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "Violation"]


def make(kind: type[BaseException]) -> BaseException:
    return kind(*FACTS.get(kind.__name__, ("Something is wrong; mend it.",)))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling_with_its_facts(kind: type[BaseException]):
    error = make(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_says_something_and_keeps_it_as_message(kind: type[BaseException]):
    error = make(kind)
    assert str(error)
    if isinstance(error, errors.HeadgateError):
        assert error.message == str(error)


def test_the_tree_at_the_top_names_every_class_under_its_parent():
    tree = re.findall(r"^(.*?)(\w+)(?:  .*)?$", errors.__doc__ or "", re.MULTILINE)
    drawn = {name for _, name in tree}
    assert {kind.__name__ for kind in CLASSES} <= drawn


def test_errors_for_mistakes_in_calls_are_also_the_builtin_ones():
    assert issubclass(errors.ParameterBindError, TypeError)
    assert issubclass(errors.MissingContextError, RuntimeError)
    assert issubclass(errors.FlowRunTimeoutError, TimeoutError)
    assert not issubclass(errors.TerminationSignal, Exception)


def test_the_public_module_offers_the_same_names():
    # Beside them it has the names that users of the incumbent catch by.
    assert [name for name in exceptions.__all__ if name in errors.__all__] == errors.__all__
    assert errors.__all__ == sorted(errors.__all__)
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
    assert all(getattr(exceptions, name) is getattr(errors, name) for name in errors.__all__)
