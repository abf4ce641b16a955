"""Plans, launches and runs as text for people: tables, progress, summaries."""
