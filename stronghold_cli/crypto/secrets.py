"""The plaintext of a secret: its five parts and the padding that hides their size (protocol section 3, rule R19).

``TLV(name, value, note, author id, time)``, then ``u32be(length) ‖ plaintext ‖ zeros`` up to the next of 64, 128, 256, 512,
1024 bytes, then Padmé. Value and note are bytes and never normalised. Whether the *name* is legal is for the verifier of a
pull to say (section 5, step 11): here it is text and no more.
"""

from __future__ import annotations

from stronghold_cli.protocol.encoding import decode_text, decode_u64, split_tlv, tlv
from stronghold_cli.protocol.errors import MalformedError, UsageError
from stronghold_cli.protocol.names import MAX_NOTE, MAX_VALUE
from stronghold_cli.protocol.record import Record

_LENGTH_BYTES = 4
_AUTHOR_BYTES = 16
_TIME_BYTES = 8
_SMALL_SIZES = (64, 128, 256, 512, 1024)


class Secret(Record):
    """One version of one secret. ``author`` is the 16-byte id of the operator who wrote it, ``time`` Unix seconds."""

    name: str
    value: bytes
    note: bytes
    author: bytes
    time: int

    def encode(self) -> bytes:
        """The padded plaintext; a value over 1 MiB or a note over 4096 bytes raises ``UsageError``."""
        fault = _size_fault(self.value, self.note)
        if fault:
            raise UsageError(f"{fault[0].upper()}{fault[1:]}.", hint="Keep large files elsewhere and their key here.")
        return pad(tlv(self.name, self.value, self.note, self.author, self.time))

    def __repr__(self) -> str:
        return f"Secret(by {self.author.hex()}, time={self.time})"


def encoded_length(name: str, value: bytes, note: bytes) -> int:
    """How many bytes ``Secret.encode`` gives for these parts; the others have one size."""
    parts = len(name.encode()) + len(value) + len(note) + _AUTHOR_BYTES + _TIME_BYTES
    return padded_length(_LENGTH_BYTES + 5 * _LENGTH_BYTES + parts)


def decode_secret(padded: bytes) -> Secret:
    """The secret in an opened box; any other padding, part or size raises ``MalformedError``."""
    name, value, note, author, time = split_tlv(unpad(padded), 5)
    if len(author) != _AUTHOR_BYTES:
        raise MalformedError(f"the author of a secret is not {_AUTHOR_BYTES} bytes")
    fault = _size_fault(value, note)
    if fault:
        raise MalformedError(fault)
    return Secret(name=decode_text(name), value=value, note=note, author=author, time=decode_u64(time))


def pad(plaintext: bytes) -> bytes:
    """``u32be(length) ‖ plaintext ‖ zeros`` up to ``padded_length``."""
    framed = len(plaintext).to_bytes(_LENGTH_BYTES, "big") + plaintext
    return framed.ljust(padded_length(len(framed)), b"\0")


def unpad(padded: bytes) -> bytes:
    """The plaintext in ``padded``; a wrong length, total size or a byte of padding that is not zero: ``MalformedError``."""
    end = _LENGTH_BYTES + int.from_bytes(padded[:_LENGTH_BYTES], "big")
    if len(padded) != padded_length(end) or padded[end:].strip(b"\0"):
        raise MalformedError("a secret is not padded in the one allowed way")
    return padded[_LENGTH_BYTES:end]


def padded_length(length: int) -> int:
    """The size to which ``length`` bytes are padded: 64, 128, 256, 512, 1024, then Padmé (at most 12 % more).

    Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019, section
    4.3) keeps of ``length`` only as many leading bits as its exponent has digits, and rounds up.
    """
    for size in _SMALL_SIZES:
        if length <= size:
            return size
    exponent = length.bit_length() - 1
    step = 1 << (exponent - exponent.bit_length())
    return -(-length // step) * step


def _size_fault(value: bytes, note: bytes) -> str:
    if len(value) > MAX_VALUE:
        return f"the value of a secret has {len(value)} bytes, more than the {MAX_VALUE} allowed"
    if len(note) > MAX_NOTE:
        return f"the note of a secret has {len(note)} bytes, more than the {MAX_NOTE} allowed"
    return ""
