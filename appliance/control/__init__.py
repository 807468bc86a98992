"""The one door: the only place where packets meet money. A file per noun; `door.Control` is the face."""
