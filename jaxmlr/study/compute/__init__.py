"""From a study to compiled programs over blocks of trials."""
