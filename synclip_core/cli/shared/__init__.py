"""One file, one subcommand of `synclip`. Each has `add_parser(subparsers)` and `run(args) -> exit code`."""
