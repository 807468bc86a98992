"""The cipher as other compilers make it: gcc and clang, without and with optimisation, must agree."""

from __future__ import annotations

import random
import shutil

import pytest

from tests.crypto_ext import batches, engines, leaf
from tests.crypto_ext.batches import Message

LENGTHS = [0, 1, 15, 16, 17, 63, 64, 65, 576, 1420, 1420, 1420, 1420, 1420, 1420, 1420, 1420, 700, 3000, 9000]


@pytest.mark.parametrize("optimisation", ["-O0", "-O3"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@engines.each_path
def test_every_build_gives_the_same(path, compiler, optimisation):
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    found = leaf.load(compiler=compiler, optimisation=optimisation)
    noise = random.Random(9)
    keys = [noise.randbytes(32) for _ in range(2)]
    for count in (1, 2, 8, 20, 40):
        batch = [
            Message(noise.choice(keys), noise.getrandbits(64), noise.randbytes(noise.choice(LENGTHS)))
            for _ in range(count)
        ]
        expected = [batches.sealed(message) for message in batch]
        wire = [message._replace(text=text) for message, text in zip(batch, expected, strict=True)]
        wire[0] = wire[0]._replace(text=bytes(16))
        aead = found.lib.sp_aead_new(path.encode())
        assert aead != found.ffi.NULL
        got = batches.run(found, aead, batch, seal=True, in_place=False)
        assert [out for _, out in got] == expected
        got = batches.run(found, aead, wire, seal=False, in_place=True)
        assert [ok for ok, _ in got] == [0] + [1] * (count - 1)
        assert [out for _, out in got[1:]] == [message.text for message in batch[1:]]
        found.lib.sp_aead_free(aead)
