"""Film an agent: `record` plays, `rendering` draws, `pictures` adds titles, two files write."""
