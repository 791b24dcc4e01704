# SPDX-License-Identifier: Apache-2.0
from services.metadata.container_names import ASK_AGAIN_NS, ContainerNames

A, B, C = "a" * 64, "b" * 64, "c" * 64


def told(names):
    table = names.table()
    return dict(zip(table.container_id, table.container_name, strict=True))


def test_each_is_asked_for_once():
    """Also one that the engine doesn't know: it is another's."""
    names = ContainerNames()
    assert names.unasked({B, A}) == [A, B]
    names.answer([A, B], {A: "web", C: "unasked"})
    assert names.unasked({A, B, C}) == [C]
    assert told(names) == {A: "web"}


def test_a_name_stays_though_it_is_changed():
    """Another label would be another series."""
    names = ContainerNames()
    names.answer([A], {A: "web"})
    names.answer([B], {A: "renamed", B: "db"})
    assert told(names) == {A: "web", B: "db"}


def test_names_go_with_their_containers():
    """What metadata has forgotten is forgotten here."""
    names = ContainerNames()
    names.answer([A, B], {A: "web", B: "db"})
    assert names.unasked({B}) == []
    assert told(names) == {B: "db"}
    assert names.unasked({A, B}) == [A]


def test_a_question_has_a_bounded_length():
    """The others are asked for with the next frame."""
    names, many = ContainerNames(), {f"{number:064x}" for number in range(250)}
    lengths = []
    while asked := names.unasked(many):
        lengths.append(len(asked))
        names.answer(asked, {})
    assert lengths == [100, 100, 50]


def test_after_a_failure_it_waits():
    """An engine that hangs costs half a second in ten."""
    names = ContainerNames()
    assert names.may_ask(0)
    names.fail("no answer", 5)
    assert not names.may_ask(4 + ASK_AGAIN_NS)
    assert names.may_ask(5 + ASK_AGAIN_NS)
    assert names.unasked({A}) == [A]
    names.answer([A], {A: "web"})
    assert names.trouble == ""
    assert names.may_ask(6)
