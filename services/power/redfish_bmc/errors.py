# SPDX-License-Identifier: Apache-2.0
"""Why a BMC could not be read, in words for people."""

from dataclasses import dataclass


@dataclass
class Failed(Exception):  # noqa: N818 named by what happened
    """`text`: what and where, with the cure; nothing that the BMC wrote, for it may repeat a password.

    `status`: of the HTTP answer, if that is it. `retry_after_s`: how long the BMC asks to be left alone.
    `is_login`: the account is at fault, or a login's answer is missing.
    """

    text: str
    status: int = 0
    retry_after_s: int = 0
    is_login: bool = False

    def __str__(self) -> str:
        return self.text
