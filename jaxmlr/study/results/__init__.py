"""From blocks to statistics, tables and pictures."""
