"""What is measured: one room a family of tasks, each with its tracker, options, presets, scoring and known answers."""
