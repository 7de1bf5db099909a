"""Pages that need nothing but themselves: HTML with its style and its plots inside, and figures as people read them."""
