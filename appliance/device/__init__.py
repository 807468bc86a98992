"""One WireGuard interface at work: peers, keys, sockets and the tasks that carry them out.

`peers` is the table that keeps C and the handshake brain in step; `device` owns the loops; `configure`
applies what `wg` asks; `sessions` is the same interface as the session API sees it.
"""
