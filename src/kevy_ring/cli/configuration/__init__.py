"""Options from the environment and from a TOML file, beside the command line."""
