"""What a study is: plain data, read and checked."""
