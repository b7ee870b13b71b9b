"""From what is asked for to scores: units of work, one clip at a time, hashes, plans, shards, executors."""
