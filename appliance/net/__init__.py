"""The host's network as the program touches it: TUN, UDP sockets, links, routes, nftables, sysctls.

Everything is plain sockets, ioctls and netlink messages, because `sallyport-wg` must start fast and
stay small. Nothing here knows a session or a price; what to build is decided in `core/exitplan.py`.
"""
