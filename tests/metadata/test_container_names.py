# SPDX-License-Identifier: Apache-2.0
from services.metadata.container_names import PAUSE_MAX_NS, ContainerNames

A, B, C = "a" * 64, "b" * 64, "c" * 64
MANY = [f"{number:064x}" for number in range(150)]
S = 10**9


def told(names):
    return {one: name for one in (A, B, C, *MANY) if (name := names.name(one))}


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
    """The others are asked for with the next one."""
    names, many = ContainerNames(), {f"{number:064x}" for number in range(250)}
    lengths = []
    while asked := names.unasked(many):
        lengths.append(len(asked))
        names.answer(asked, {})
    assert lengths == [100, 100, 50]


def test_after_failures_it_waits_longer_and_longer():
    """An engine that starts is found soon, one that hangs costs little; a success forgets it all."""
    names, now_ns, pauses_s = ContainerNames(), 0, []
    for _failure in range(6):
        assert names.may_ask(now_ns)
        names.fail([], "no answer", now_ns)
        begun_ns = now_ns
        while not names.may_ask(now_ns):
            now_ns += S
        pauses_s.append((now_ns - begun_ns) // S)
    assert pauses_s == [1, 2, 4, 8, 10, 10]
    assert PAUSE_MAX_NS == 10 * S
    assert names.unasked({A}) == [A]
    names.answer([A], {A: "web"})
    assert names.trouble == ""
    assert names.may_ask(now_ns)
    names.fail([], "again", now_ns)
    assert names.may_ask(now_ns + S)


def test_one_bad_description_costs_nobody_else_a_name():
    """Whoever it is: the questions become smaller until it is alone, and larger again."""
    many = MANY
    names, bad, questions = ContainerNames(), many[77], 0
    while asked := names.unasked(many):
        questions += 1
        if bad in asked:
            names.give_up(asked, "too large", 0)
            assert names.trouble == "too large"
        else:
            names.answer(asked, dict.fromkeys(asked, "x"))
        assert names.may_ask(0)
    assert told(names) == dict.fromkeys([one for one in many if one != bad], "x")
    assert questions < 30
    assert names.trouble == ""


def test_one_at_which_the_engine_fails_comes_last():
    """It is not given up, for the engine may only have been away; but it is in nobody's way."""
    names = ContainerNames()
    names.fail([A, B, C], "500", 0)
    assert names.unasked({A, B, C}) == [A]
    names.fail([A], "500", 0)
    assert names.unasked({A, B, C}) == [B]
    names.answer([B], {B: "db"})
    assert names.unasked({A, B, C}) == [C, A]
    names.fail([C, A], "500", 0)
    assert names.unasked({A, B, C}) == [C]
    names.answer([C], {})
    assert names.unasked({A, B, C}) == [A]
    names.answer([A], {A: "web"})
    assert told(names) == {A: "web", B: "db"}


def test_an_engine_that_is_none_is_left_alone():
    """A bad answer though nobody was asked for is the engine's fault."""
    names = ContainerNames()
    names.give_up([], "a page", 0)
    assert not names.may_ask(0)


def test_names_are_made_safe_at_once():
    """What is kept is no longer than a frame takes, and harmless."""
    names = ContainerNames()
    names.answer([A], {A: "\x1b[2J" + "x" * 10**6})
    assert told(names)[A].startswith("\\x1b[2Jxxx")
    assert len(told(names)[A]) == 4096
