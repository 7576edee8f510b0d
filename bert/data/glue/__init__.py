"""The table of tasks, and the files of a task."""
