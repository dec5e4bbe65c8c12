"""Reports: tables and pictures of what has records, as files."""
