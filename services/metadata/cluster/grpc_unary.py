# SPDX-License-Identifier: Apache-2.0
"""One gRPC call without arguments over HTTP/2: the only file that imports h2. No I/O.

Sources: "gRPC over HTTP2" (doc/PROTOCOL-HTTP2.md) and "Status codes and their use in gRPC"
(doc/statuscodes.md) in grpc/grpc; RFC 9113. Not grpcio: that takes 18 MB of memory, h2 one.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

_PREFIX_BYTES = 5  # of each message: whether it is compressed, and its length
_NO_MESSAGE = bytes(_PREFIX_BYTES)  # an empty message
_OK = "OK"
_STATUSES = (
    *(_OK, "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
# What a server may send for an answer, its headers, pings and settings included.
_RECEIVED_BYTES_SPARE = 1 << 16
_SAID_MAX = 100


class CallError(Exception):
    """The call has brought no message. `status`: gRPC's word, if the server has said one."""

    def __init__(self, text: str, status: str = "") -> None:
        super().__init__(text)
        self.status = status


class UnaryCall:
    """A call's bytes, to be sent and received by someone else."""

    def __init__(self, path: str, timeout_ms: int, message_bytes_max: int) -> None:
        """`path`: /PACKAGE.SERVICE/METHOD. `timeout_ms`: how long the server is asked to try.

        Raises ModuleNotFoundError if the h2 package isn't installed.
        """
        # Imported here: metadata works without it where no socket is asked.
        from h2 import events  # noqa: PLC0415
        from h2.config import H2Configuration  # noqa: PLC0415
        from h2.connection import H2Connection  # noqa: PLC0415

        self._message_bytes_max = message_bytes_max
        self._events = events
        self._connection: Any = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._received = 0
        self._body = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self.is_over = False
        self._reset = ""
        self._connection.initiate_connection()
        self._stream: int = self._connection.get_next_available_stream_id()
        self._connection.send_headers(
            self._stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", f"{timeout_ms}m"),
                ("user-agent", "wattline"),
            ],
        )
        self._connection.send_data(self._stream, _NO_MESSAGE, end_stream=True)

    def to_send(self) -> bytes:
        """Bytes that are to go to the server now."""
        sent: bytes = self._connection.data_to_send()
        return sent

    def receive(self, data: bytes) -> None:
        """Take bytes of the server's; none: it has closed the connection.

        `is_over` says whether that was the last. Raises CallError, and nothing else.
        """
        if not data:
            raise CallError("the connection was closed before the answer was complete")
        self._received += len(data)
        if self._received > self._message_bytes_max + _RECEIVED_BYTES_SPARE:
            raise CallError(f"expected an answer of at most {self._message_bytes_max} bytes, got more")
        try:
            self._take(self._connection.receive_data(data))
        except CallError:
            raise
        except Exception as error:  # noqa: BLE001 see below
            # Of h2, hpack or hyperframe: not all of theirs for bad frames have one base.
            raise CallError(f"expected HTTP/2, got bytes that are none ({type(error).__name__})") from None

    def message(self) -> bytes:
        """The answer's message, once the call is over. Raises CallError."""
        if self._reset:
            raise CallError(self._reset)
        http_status = self._headers.get(b":status", b"")
        if b"grpc-status" not in self._headers:
            raise CallError(f"expected a gRPC server, got HTTP status {_said(http_status) or 'none'}")
        status = _status(self._headers[b"grpc-status"])
        if status != _OK:
            said = _said(unquote(self._headers.get(b"grpc-message", b"")).encode())
            raise CallError(f"{status}: {said}" if said else status, status)
        return self._one_message()

    def _take(self, events: Iterable[Any]) -> None:
        known = self._events
        for event in events:
            if isinstance(event, known.ConnectionTerminated):
                # The server stops, or refuses more. Older streams may go on, but this is the only one.
                raise CallError(f"the server ends the connection (error {event.error_code or 0:d})")
            if getattr(event, "stream_id", None) != self._stream:
                continue
            if isinstance(event, known.ResponseReceived | known.TrailersReceived):
                self._headers.update(event.headers or ())
            elif isinstance(event, known.DataReceived):
                self._body += event.data or b""
                self._connection.acknowledge_received_data(event.flow_controlled_length, self._stream)
            elif isinstance(event, known.StreamReset):
                self._reset = f"the server gives the call up (error {event.error_code or 0:d})"
                self.is_over = True
            elif isinstance(event, known.StreamEnded):
                self.is_over = True

    def _one_message(self) -> bytes:
        body = bytes(self._body)
        size = int.from_bytes(body[1:_PREFIX_BYTES], "big")
        if len(body) < _PREFIX_BYTES or len(body) - _PREFIX_BYTES != size:
            raise CallError(f"expected one message, got {len(body)} bytes that are none")
        if body[0]:
            raise CallError("expected a message as it is, got a compressed one")
        if size > self._message_bytes_max:
            raise CallError(f"expected an answer of at most {self._message_bytes_max} bytes, got {size}")
        return body[_PREFIX_BYTES:]


def _status(value: bytes) -> str:
    """The word for the number of a status; UNKNOWN, as gRPC has it, for one that does not exist."""
    number = int(value) if value.isdigit() and len(value) <= 3 else -1  # noqa: PLR2004 digits
    return _STATUSES[number] if 0 <= number < len(_STATUSES) else "UNKNOWN"


def _said(value: bytes) -> str:
    """What a server says, for people."""
    return "".join(char if char.isprintable() else "?" for char in value.decode("utf-8", "replace"))[
        :_SAID_MAX
    ]
