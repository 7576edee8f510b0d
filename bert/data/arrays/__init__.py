"""Arrays of unequal parts, and arrays larger than memory."""
