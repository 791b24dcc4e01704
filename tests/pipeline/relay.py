# SPDX-License-Identifier: Apache-2.0
"""Holds a stream back: python -m tests.pipeline.relay TOPIC FROM_RUN TO_RUN DELAY_S, until it is ended."""

import sys
import time
from collections import deque
from pathlib import Path

from wattline.pipeline import PRODUCER_OF_TOPIC
from wattline.wire.bus import Publisher, Subscriber
from wattline.wire.rundir import Lock, ServiceDirectory


def main(topic, from_run, to_run, delay_s):
    directory = ServiceDirectory(Path(to_run), PRODUCER_OF_TOPIC[topic])
    directory.prepare()
    waiting = deque()
    with Lock(directory.lock) as lock, Subscriber(Path(from_run), [topic]) as subscriber:
        assert lock.acquire()
        publisher = Publisher(directory)
        while True:
            subscriber.poll(10)
            subscriber.connect()
            waiting.extend((time.monotonic() + float(delay_s), frame) for frame in subscriber.receive())
            while waiting and waiting[0][0] <= time.monotonic():
                publisher.publish(waiting.popleft()[1], is_state=True)


main(*sys.argv[1:])
