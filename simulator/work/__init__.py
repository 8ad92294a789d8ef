"""What developers write: pieces of real files and commits of real repositories (section 3.2)."""
