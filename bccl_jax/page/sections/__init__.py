"""What a report tells of a run, a module a section: from records and arrays to charts and words."""
