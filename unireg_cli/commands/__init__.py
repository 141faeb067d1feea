"""The commands, one file each: parse, frozen options, verb, write, exit code."""
