"""Long-tailed data sets and how they reach the device."""
