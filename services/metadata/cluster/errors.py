# SPDX-License-Identifier: Apache-2.0
"""Why pods could not be read, in words for people. Pure."""

from dataclasses import dataclass

# What failures are counted as.
UNREACHABLE, REFUSED = "kubernetes_unreachable", "kubernetes_refused"
BAD_ANSWER, TOO_LARGE, NO_NODE = "kubernetes_bad_answer", "kubernetes_too_large", "kubernetes_no_node"
SILENT, OBJECT_REFUSED = "kubernetes_silent", "kubernetes_object_refused"


@dataclass
class Failed(Exception):  # noqa: N818 named by what happened
    """`text`: what and where, with the cure; nothing that the server wrote, which may repeat a token.

    `status`: of the HTTP answer, if that is it. `event`: what it is counted as. `retry_after_s`: how long the
    server asks to be left alone.
    """

    text: str
    status: int = 0
    event: str = UNREACHABLE
    retry_after_s: float = 0.0

    def __str__(self) -> str:
        return self.text


class Expired(Exception):  # noqa: N818 likewise
    """The server no longer knows the resourceVersion: the list has to be read anew (410 Gone)."""


class Silent(Exception):  # noqa: N818 likewise
    """A watch that brought nothing for too long, not even a bookmark."""
