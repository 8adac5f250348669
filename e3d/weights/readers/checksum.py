"""CRC-32C (Castagnoli) of many bytes, as TensorFlow's checkpoints have it, by NumPy."""

import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANES = 4096  # pieces of the bytes whose checksums are computed side by side


def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE = _byte_table()


def crc32c(content: bytes | memoryview) -> int:
    """The checksum of bytes.

    The register is linear in its bits, so the pieces begin with a register of 0 and are joined by the
    operator that moves a register past the bytes of a piece.
    """
    data = np.frombuffer(content, np.uint8)
    length = len(data) // _LANES
    lanes = data[: length * _LANES].reshape(_LANES, length)
    registers = np.zeros(_LANES, np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        registers = _TABLE[(registers ^ column) & 0xFF] ^ registers >> 8
    register = 0xFFFFFFFF
    if length:
        past = _zeros_operator(length)
        for lane in registers.tolist():
            register = _apply(past, register) ^ lane
    for byte in data[length * _LANES :].tolist():
        register = int(_TABLE[(register ^ byte) & 0xFF]) ^ register >> 8
    return register ^ 0xFFFFFFFF


def unmasked(checksum: int) -> int:
    """The checksum of which TensorFlow and LevelDB store a masked form."""
    rotated = (checksum - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _zeros_operator(count: int) -> list[int]:
    """What becomes of each bit of a register in passing so many bytes of 0."""
    power = [int(_TABLE[bit & 0xFF]) ^ bit >> 8 for bit in (1 << place for place in range(32))]
    result = [1 << place for place in range(32)]
    while count:
        if count & 1:
            result = [_apply(power, image) for image in result]
        power = [_apply(power, image) for image in power]
        count >>= 1
    return result


def _apply(operator: list[int], register: int) -> int:
    result = 0
    for place, image in enumerate(operator):
        if register >> place & 1:
            result ^= image
    return result
