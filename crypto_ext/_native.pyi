# What cffi makes of crypto_ext/api.h. Its values are cffi's own, which have no static types; the two
# modules that use them (pump.py, aead.py) are the typed face.
from typing import Any

lib: Any
ffi: Any
