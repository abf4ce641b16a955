"""What people see of runs and plans: tables, progress, words."""
