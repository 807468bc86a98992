"""The floor that THINKS: bytes, numbers and `now`; no sockets, files, threads or clocks."""
