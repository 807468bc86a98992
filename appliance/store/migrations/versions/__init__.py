"""One file per step. A step that was released is never edited: what it did is how old databases look."""
