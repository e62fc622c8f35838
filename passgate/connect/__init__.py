"""The outside world, one room per system."""
