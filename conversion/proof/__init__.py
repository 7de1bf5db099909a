"""Does the twin give what the original gives? On samples, under stress, and on data with labels."""
