"""Topics of commits: announced between replicas, given to those who wait for them alone."""

from headgate_server.services.notifier import Notifier
from headgate_server.storage.records import ALL_TOPICS, Commit
from headgate_server.storage.sql import announcements


def test_an_announcement_carries_the_topics():
    for topics in ((), ("slots",), ("run-inputs/a", "run-inputs/b")):
        commit = Commit(revision=7, ready=True, topics=frozenset(topics))
        assert announcements.decode(announcements.encode(commit, "one"), "two") == commit
    assert announcements.decode(announcements.encode(Commit(), "one"), "one") is None


def test_what_others_say_in_our_channel_is_no_announcement():
    for text in ("x", "", "vacuum is done now", "one two three four five"):
        assert announcements.decode(text, "one") is None


def test_topics_that_do_not_fit_into_an_announcement_mean_all():
    commit = Commit(topics=frozenset(f"run-inputs/{number:036}" for number in range(200)))
    text = announcements.encode(commit, "one")
    assert len(text.encode()) < 8_000
    assert announcements.decode(text, "two") == Commit(topics=frozenset({ALL_TOPICS}))


def test_only_those_who_wait_for_a_topic_are_woken():
    notifier = Notifier()
    with notifier.topic("a") as mine, notifier.topic("a") as ours, notifier.topic("b") as other:
        assert mine is ours
        notifier.on_commit(Commit(topics=frozenset({"a", "c"})))
        assert (mine.count, other.count) == (1, 0)
        notifier.on_commit(Commit(topics=frozenset({ALL_TOPICS})))
        assert (mine.count, other.count) == (2, 1)
        notifier.on_commit(Commit(logs=True))
        notifier.close()
        assert (mine.count, other.count) == (3, 2)
    with notifier.topic("a") as new:
        assert new.count == 0
