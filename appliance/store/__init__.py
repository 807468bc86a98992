"""Storage: SQLite through SQLAlchemy Core, one writer thread, a query file per noun."""
