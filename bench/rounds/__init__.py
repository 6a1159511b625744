"""One module for each kind of round in Python: ``run(tag, **arguments)`` does one and says what it measured."""
