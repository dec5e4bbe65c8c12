"""What was measured, as tables in Markdown and CSV."""
