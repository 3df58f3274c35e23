"""What the command line exits with; 0 where the command did what it was asked."""

from __future__ import annotations

EXIT_USER_ERROR = 2  # something that the user can mend
EXIT_OUR_MISTAKE = 70  # a mistake of limbeck's own
EXIT_INTERRUPTED = 130  # stopped by Ctrl-C or SIGTERM
EXIT_NO_READER = 141  # whoever read the output has left, as `head` does
