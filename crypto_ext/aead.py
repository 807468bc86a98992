"""The AEAD seam by itself: ChaCha20-Poly1305 in batches, for tests, the bench and `version --verbose`.

The pump calls the same two functions from C. Nonces are WireGuard's: four zero bytes and the counter.
"""

from __future__ import annotations

from collections.abc import Sequence

from crypto_ext._native import ffi, lib

TAG_BYTES = 16

type_job = tuple[bytes, int, bytes]


class Aead:
    """One way to compute the cipher: "avx512", "avx2", "libcrypto", "portable"; "auto": the best one here."""

    def __init__(self, path: str = "auto") -> None:
        """ValueError when that path is not to be had on this machine."""
        self._aead = lib.sp_aead_new(path.encode())
        if self._aead == ffi.NULL:
            raise ValueError(f"no such AEAD path here: {path}")
        self._aead = ffi.gc(self._aead, lib.sp_aead_free)
        self.path = ffi.string(lib.sp_aead_path(self._aead)).decode()

    @staticmethod
    def broken(path: str) -> bool:
        """Whether this machine has that path but gets wrong answers from it; "auto" passes it over."""
        return bool(lib.sp_aead_broken(path.encode()))

    def seal_batch(self, jobs: Sequence[type_job]) -> list[bytes]:
        """Seal each (key, counter, plaintext); the tag is at the end of each result."""
        outs, _ = self._run(lib.sp_seal_batch, jobs, TAG_BYTES)
        return outs

    def open_batch(self, jobs: Sequence[type_job]) -> list[bytes | None]:
        """Open each (key, counter, ciphertext with tag); None for one that is forged."""
        outs, verdicts = self._run(lib.sp_open_batch, jobs, -TAG_BYTES)
        return [out if ok else None for out, ok in zip(outs, verdicts, strict=True)]

    def seal(self, key: bytes, counter: int, plaintext: bytes) -> bytes:
        """Seal one packet."""
        return self.seal_batch([(key, counter, plaintext)])[0]

    def open(self, key: bytes, counter: int, sealed: bytes) -> bytes | None:
        """Open one packet; None when it is forged."""
        return self.open_batch([(key, counter, sealed)])[0]

    def forget(self) -> None:
        """Overwrite any key that it keeps from one batch to the next."""
        lib.sp_aead_forget(self._aead)

    def _run(self, run: object, jobs: Sequence[type_job], grows: int) -> tuple[list[bytes], list[int]]:
        array = ffi.new("struct sp_aead_job[]", len(jobs))
        kept = []  # cffi frees a buffer with its last Python reference
        for slot, (key, counter, data) in zip(array, jobs, strict=True):
            if len(key) != 32 or len(data) + min(grows, 0) < 0:
                raise ValueError("a key has 32 bytes, a sealed packet at least a tag")
            c_key, c_in = ffi.new("uint8_t[]", key), ffi.new("uint8_t[]", data)
            c_out = ffi.new("uint8_t[]", max(len(data) + grows, 1))
            kept.append((c_key, c_in, c_out, len(data) + grows))
            slot.key, slot.counter, slot.out, slot.len = c_key, counter, c_out, len(data)
            setattr(slot, "in", c_in)
        run(self._aead, array, len(jobs))  # type: ignore[operator]  # one of two untyped C functions
        return [bytes(ffi.buffer(out, size)) for _, _, out, size in kept], [slot.ok for slot in array]
