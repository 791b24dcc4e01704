# SPDX-License-Identifier: Apache-2.0
"""The contract between services: what a frame holds, how it is written, how it travels.

names.py    makes strangers' names safe
columns.py  integer columns
frames.py   the five frame types
codec.py    frame <-> bytes (the only user of msgpack)
shared.py   the mapped two-slot file
rundir.py   WATTLINE_RUN: directories, owners, locks
order.py    gaps, repeats and order in a stream of frames
bus.py      publish and subscribe (the only user of ZeroMQ)
recording.py  a file of frames as they arrived
recorded.py   its frames as a subscriber would have been given them
"""
