"""Evidence by cause: for every cause of every check the facts that name it."""
