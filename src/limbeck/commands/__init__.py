"""The work behind each command of the command line: settings in, result out, no terminal but for a table."""
