"""What an exported agent brings along beside its policy; nothing here imports sweeper."""
