"""From a file's text to plain data that knows its lines."""
