"""The command's subcommands, a file each for what belongs together."""
