"""Read config/ and the environment once, into typed settings; secrets stay references."""
