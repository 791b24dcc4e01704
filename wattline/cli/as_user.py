# SPDX-License-Identifier: Apache-2.0
"""Ask a question as another user."""

import os
from collections.abc import Callable

from wattline.errors import Fatal


def as_user(uid: int, gid: int, question: Callable[[], str]) -> str:
    """The answer that a process of this user and group gets, without other groups or capabilities.

    As root, and before any thread is started: it forks. Raises Fatal(PERMISSION) if root may not do it.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, text = 1, ""
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            code, text = 0, question()
        except Exception as error:  # noqa: BLE001 a forked child must not go on as its parent would
            text = repr(error)
        finally:
            os.write(writing, text.encode("utf-8", "surrogateescape"))
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read().decode("utf-8", "surrogateescape")
    _pid, status = os.waitpid(child, 0)
    if status != 0:
        raise Fatal(
            f"can't become uid {uid}, as which the services are to run: {text}. Expected root with "
            "CAP_SETUID and CAP_SETGID; without, start it as an ordinary user",
            Fatal.PERMISSION,
        )
    return text
