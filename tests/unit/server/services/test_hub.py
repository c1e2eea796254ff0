"""What a stream is told about a run that others changed."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.core.runs import FlowRun
from headgate.core.states import StateDetails, StateType, new_state
from headgate_server.services.hub import Attachment, News, news_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = StateType


def run(type: StateType, *, id: str = "new", token: int = 1, transition: str = "") -> FlowRun:
    details = StateDetails(transition_id=transition or None)
    return FlowRun(
        id="r",
        name="r",
        flow_id="f",
        flow_name="f",
        state=new_state(type, id=id, now=NOW, details=details),
        root_flow_run_id="r",
        fencing_token=token,
        create_time=NOW,
    )


def attachment(type: StateType = S.RUNNING, proposing: str = "") -> Attachment:
    listener: Any = object()
    made = Attachment(flow_run_id="r", token=1, listener=listener, proposing=proposing)
    made.knows(run(type, id="old").state)
    return made


@pytest.mark.parametrize(
    ("known", "now", "news"),
    [
        (S.RUNNING, run(S.RUNNING, id="old"), None),
        (S.RUNNING, run(S.CANCELLING), News.CANCEL),
        (S.RUNNING, run(S.PAUSED), News.PAUSE),
        (S.PAUSED, run(S.RUNNING), News.RESUME),
        (S.PAUSED, run(S.SCHEDULED), News.RESUME),
        (S.RUNNING, run(S.CANCELLED, token=2), News.FENCED),
        (S.RUNNING, run(S.RUNNING, id="old", token=2), News.FENCED),
        (S.RUNNING, run(S.COMPLETED), None),
    ],
    ids=["same", "cancel", "pause", "resume", "resume later", "ended", "token", "ended itself"],
)
def test_news(known: StateType, now: FlowRun, news: News | None) -> None:
    assert news_of(attachment(known), now) is news


def test_a_stream_is_not_told_what_it_proposed_itself() -> None:
    assert news_of(attachment(proposing="new"), run(S.PAUSED)) is None
    assert news_of(attachment(proposing="p"), run(S.PAUSED, transition="p")) is None


def test_news_is_told_once() -> None:
    held = attachment()
    cancelling = run(S.CANCELLING)
    assert news_of(held, cancelling) is News.CANCEL
    assert news_of(held, dataclasses.replace(cancelling, priority=3)) is None
