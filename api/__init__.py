"""What the program speaks over HTTP: Quart-Trio apps on Hypercorn, one dialect per file.

A dialect turns requests into calls of `appliance.control` and refusals into its own words and
statuses. It decides nothing about money, addresses or peers, and holds no state.
"""
