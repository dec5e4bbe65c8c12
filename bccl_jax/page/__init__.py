"""A report of runs in one file of HTML: it opens from disk and loads nothing."""
